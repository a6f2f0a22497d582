-- renew: a session in use keeps its lease; one whose cookie came back has its first lease made full.
--
-- items   [generation, epoch, number, id, entered at, when its pass ends, whether it is a first lease, whether the
--         cookie came back] of a session
-- answer  view, and for each when the pass ends now; 0: there is no such session any more

begin_room()
slide()

-- A session that the store has lost, or that was let in while it was away, comes back with its pass: nobody who holds
-- one is ever sent away, and until it came its place was kept, as that of one of the forgotten.
local function is_back(generation, epoch, number, id, entered_at, pass_ends, is_first)
  if generation ~= room.generation or pass_ends <= now or redis.call('ZSCORE', ENDED, id) then
    return false
  end
  put_inside(rank_of(epoch, number), id, entered_at, pass_ends, is_first)
  room.inside_found = room.inside_found + 1
  room.inside = redis.call('ZCARD', INSIDE) + count_forgotten()
  return true
end

local function renew(generation, epoch, number, id, entered_at, pass_ends, is_first, confirms)
  local is_there = redis.call('ZSCORE', INSIDE, id)
  if not is_there and not is_back(generation, epoch, number, id, entered_at, pass_ends, is_first) then
    return 0
  end
  if confirms then
    redis.call('ZREM', FIRST, id)
  end
  local is_short = not confirms and redis.call('ZSCORE', FIRST, id)
  local ends = pass_end(entered_at, is_short and rules.first_lease_us or rules.lease_us)
  if ends <= now then
    return 0
  end
  redis.call('ZADD', INSIDE, 'GT', text(ends + GRACE_US), id)
  return text(ends)
end

local answers = {}
for i, session in ipairs(items) do
  answers[i] = renew(unpack(session))
end
return finish(answers)

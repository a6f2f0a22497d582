-- renew: a session in use keeps its lease; one whose cookie came back has its first lease made full, and the first
-- lease of a request that still runs is kept a little longer than it is known to run.
--
-- items   [generation, epoch, number, id, when its pass ends, the epoch whose store has known it last, entered at,
--         whether it is a first lease, whether the cookie came back] of a session
-- answer  view, and for each when the pass ends now; 0: there is no such session any more

begin_room()
slide()

-- A session that the store has lost, or that was let in while it was away, comes back with its pass: nobody who holds
-- one is ever sent away, and until it came its place was kept, as that of one of the forgotten.
local function is_back(session, is_first)
  local generation, epoch, number, id, pass_ends, known_in, entered_at = unpack(session)
  if generation ~= room.generation or not is_forgotten(id, pass_ends, known_in) then
    return false
  end
  if is_first and known_in ~= UNCONFIRMED then
    return false -- its place may have been given back: it claims, as who was called
  end
  put_inside(rank_of(epoch, number), id, entered_at, math.min(pass_ends, now + rules.lease_us), false)
  find_forgotten(entered_at, known_in)
  room.inside = redis.call('ZCARD', INSIDE) + count_forgotten()
  return true
end

local function renew(session)
  local id, entered_at, is_first, confirms = session[4], session[7], session[8], session[9]
  if pass_end(entered_at, rules.lease_us) <= now then
    return 0
  end
  if not redis.call('ZSCORE', INSIDE, id) and not is_back(session, is_first) then
    return 0
  end
  if confirms or not redis.call('ZSCORE', FIRST, id) then
    return text(confirm(rank_of(session[2], session[3]), id, entered_at))
  end
  local ends = first_end(entered_at)
  redis.call('ZADD', FIRST, 'GT', text(now + rules.running_us), id)
  redis.call('ZADD', INSIDE, 'GT', text(ends), id)
  return text(ends)
end

local answers = {}
for i, session in ipairs(items) do
  answers[i] = renew(session)
end
return finish(answers)

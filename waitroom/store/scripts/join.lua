-- join: hands out numbers, many at once; before that hears of the first visits that are over.
--
-- items   [how, id]; `how` is
--           "done"    the request of a first lease is over: it is kept for first_lease_us, and gives way to newcomers
--           "gone"    nobody can have been told of a first lease, or nobody is to be waited for: it is given back
--           "number"  takes a number
--           "enter"   takes a number, and enters if it is called at once
--           "first"   enters at once on a first lease, else takes no number
--         An id that took a number not long ago, in whatever process, gets that one again: a visitor's tabs all show
--         the same proof, whose id it is.
-- answer  view, and for each of the last three {number, called when it was issued, when the pass ends}, of the newest
--         epoch; number 0: none was taken; pass end 0: did not enter

-- Late, or told twice, it finds nothing: who has come back is no first lease any more.
local function end_visit(how, id)
  if how == 'gone' then
    give_back(id)
  elseif how == 'done' and redis.call('ZSCORE', FIRST, id) then
    local ends = math.min(now + rules.first_lease_us, tonumber(redis.call('ZSCORE', INSIDE, id)))
    redis.call('ZADD', FIRST, text(now), id)
    redis.call('ZADD', INSIDE, text(ends), id)
  end
end

local MOST_JOINED = 500

begin_room()
for _, visitor in ipairs(items) do
  end_visit(visitor[1], visitor[2])
end
slide()

local function take_number()
  room.newest.issued = room.newest.issued + 1
  return room.newest.issued
end

local function given_before(id)
  local number = tonumber(redis.call('ZSCORE', JOINED, id) or nil)
  if not number then
    return nil
  end
  local pass_ends = (tonumber(redis.call('ZSCORE', INSIDE, id) or nil) or 0) - GRACE_US
  return {text(number), text(math.min(room.newest.called, number - 1)), text(pass_ends > now and pass_ends or 0)}
end

local function note_joined(id, number)
  redis.call('ZADD', JOINED, number, id)
  redis.call('ZREMRANGEBYRANK', JOINED, 0, -(MOST_JOINED + 1))
end

local function enter_at_once(number, id, first)
  local ends = first and first_end(now) or pass_end(now, rules.lease_us)
  call(1, false, first)
  enter(rank_of(room.newest.name, number), id, ends, first)
  return ends
end

local function join(how, id)
  local given = how ~= 'first' and given_before(id)
  if given then
    return given
  end
  local at_once = count_waiting() == 0 and (room.free > 0 or displace())
  if how == 'first' and not at_once then
    return {0, 0, 0}
  end
  local start, ends = room.newest.called, 0
  local number = take_number()
  if how ~= 'first' then
    note_joined(id, number)
  end
  if how == 'number' then
    if at_once and count_allowed() > 0 then
      call(1, true)
    end
  elseif at_once then
    ends = enter_at_once(number, id, how == 'first')
  end
  return {text(number), text(start), text(ends)}
end

local answers = {}
for _, visitor in ipairs(items) do
  if visitor[1] ~= 'done' and visitor[1] ~= 'gone' then
    answers[#answers + 1] = join(visitor[1], visitor[2])
  end
end
return finish(answers)

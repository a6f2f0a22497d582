-- claim: exchanges called tickets for sessions; claiming again finds the same session.
--
-- items   [generation, epoch, number, id, enters] of a ticket; with `enters` false it only asks
-- answer  view, and for each {outcome, when the pass ends, when the session entered, for "door" how long until its place
--         comes free, 0 where that is not known, for who has just entered when the turn came, 0 where that is not known,
--         for "door" how many stand there before it};
--         outcome is "active", "called" (it may ask to enter), "waiting", "door" (called, but no place is free yet) or
--         "expired"

local MOST_AT_ONCE = 50

begin_room()
slide()

-- Of those at the door with a lower rank, who still asks as often as told, counted up to `most`: they come first.
local function count_before(rank, most)
  local before, from = 0, 0
  while before < most do
    local lower = redis.call('ZRANGEBYLEX', DOOR, '-', '(' .. rank, 'LIMIT', from, MOST_AT_ONCE)
    for _, other in ipairs(lower) do
      if tonumber(redis.call('ZSCORE', ASKED, other)) > reached - HERE_US then
        before = before + 1
      end
    end
    from = from + MOST_AT_ONCE
    if #lower < MOST_AT_ONCE then break end
  end
  return before
end

-- All who stand there, for whoever wants to know.
local function count_door(rank)
  return redis.call('ZLEXCOUNT', DOOR, '-', '(' .. rank)
end

local function may_enter(rank)
  return room.places > 0 and room.places > count_before(rank, room.places)
end

-- When the interval alone lets this rank in, after those before it; 0: not known, or not soon.
local function comes_free_in(rank)
  local before = count_before(rank, MOST_AT_ONCE)
  if before >= MOST_AT_ONCE or rules.capacity - room.inside <= before then
    return 0
  end
  local missing = before + 1 - (rules.window_size - room.entered)
  local from = after(now - rules.interval_us)
  local leaving = redis.call('ZRANGEBYSCORE', ENTRIES, from, '+inf', 'WITHSCORES', 'LIMIT', missing - 1, 1)[2]
  return leaving and tonumber(leaving) + rules.interval_us - now or 0
end

-- When the wait was over: with the call, but for those at the door.
local function turn_of(rank, called_at)
  if called_at then
    return now - (reached - called_at)
  end
  return redis.call('ZSCORE', DOOR, rank) and now or 0
end

local function take_place(rank, id)
  local called_at = redis.call('ZSCORE', PROMISED, rank)
  if called_at then
    redis.call('ZREM', PROMISED, rank)
    note_show(tonumber(called_at))
  end
  if not may_enter(rank) then
    redis.call('ZADD', DOOR, 0, rank)
    redis.call('ZADD', ASKED, text(reached), rank)
    return {'door', 0, 0, room.is_settling and 0 or text(comes_free_in(rank)), 0, text(count_door(rank))}
  end
  local ends, turn = pass_end(now, rules.lease_us), turn_of(rank, called_at)
  enter(rank, id, ends, false)
  note_entry()
  return {'active', text(ends), text(now), 0, text(turn)}
end

-- Where the pass has run out and only the lease lives, it is renewed, as the pass itself would be.
local function find_session(id, entered_at)
  local lease_ends = redis.call('ZSCORE', INSIDE, id)
  if not lease_ends then
    return {'expired', 0, 0}
  end
  local ends = lease_ends - GRACE_US
  if ends > now then
    return {'active', text(ends), entered_at}
  end
  ends = pass_end(tonumber(entered_at), rules.lease_us)
  if ends <= now then
    return {'expired', 0, 0}
  end
  redis.call('ZADD', INSIDE, 'GT', text(ends + GRACE_US), id)
  return {'active', text(ends), entered_at}
end

-- A first lease whose cookie has come back, or one of which a loss has left no more than the lease.
local function confirm_first(rank, id)
  local entered_at = tonumber(redis.call('ZSCORE', ENTRIES, id) or now)
  local ends = confirm(rank, id, entered_at)
  return ends > now and {'active', text(ends), text(entered_at)} or {'expired', 0, 0}
end

local function claim(generation, epoch, number, id, enters)
  local rank = rank_of(epoch, number)
  if generation ~= room.generation or is_passed(epoch, number) then
    return {'expired', 0, 0}
  end
  local entered_at = redis.call('HGET', USED, rank)
  if entered_at then
    return find_session(id, entered_at)
  end
  if not is_called(epoch, number) then
    return {'waiting', 0, 0}
  end
  if redis.call('ZSCORE', INSIDE, id) then
    return confirm_first(rank, id)
  end
  if not enters then
    if redis.call('ZSCORE', DOOR, rank) then
      return {'door', 0, 0, 0, 0, text(count_door(rank))}
    end
    return {'called', 0, 0}
  end
  return take_place(rank, id)
end

local answers = {}
for i, ticket in ipairs(items) do
  answers[i] = claim(unpack(ticket))
end
count_free()
return finish(answers)

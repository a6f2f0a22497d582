-- claim: exchanges called tickets for sessions; claiming again finds the same session.
--
-- items   [generation, epoch, number, id, enters] of a ticket; with `enters` false it only asks
-- answer  view, and for each {outcome, when the pass ends, when the session entered, when its turn came}; outcome is
--         "active", "called" (it may ask to enter), "waiting", "door" (called, but no place is free yet) or "expired";
--         the turn is told to the claim that enters alone, 0 where it came too late to know

begin_room()
slide()

-- A promise whose place is there is kept, whoever stands at the door. What is left beyond the promises, or
-- all there is where the places do not suffice for them (capacity or rate were lowered), goes to the lowest
-- rank at the door first.
local function may_enter(rank, is_promised)
  local kept = room.promised <= room.places
  if kept and is_promised then
    return true
  end
  local before = redis.call('ZLEXCOUNT', DOOR, '-', '(' .. rank)
  return room.places - (kept and room.promised or 0) > before
end

-- When the wait was over: with the call, but for those at the door.
local function turn_of(rank, called_at)
  if called_at then
    return now - (reached - called_at)
  end
  return redis.call('ZSCORE', DOOR, rank) and now or 0
end

local function take_place(rank, id)
  local is_promised = redis.call('ZSCORE', PROMISED, rank)
  local enters = may_enter(rank, is_promised)
  if is_promised then
    redis.call('ZREM', PROMISED, rank)
    room.promised = room.promised - 1
  end
  if not enters then
    redis.call('ZADD', DOOR, 0, rank)
    redis.call('ZADD', ASKED, text(reached), rank)
    return {'door', 0, 0}
  end
  local ends, turn = pass_end(now, rules.lease_us), turn_of(rank, is_promised)
  enter(rank, id, ends, false)
  return {'active', text(ends), text(now), text(turn)}
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
  if not enters then
    return {redis.call('ZSCORE', DOOR, rank) and 'door' or 'called', 0, 0}
  end
  return take_place(rank, id)
end

local answers = {}
for i, ticket in ipairs(items) do
  answers[i] = claim(unpack(ticket))
end
count_free()
return finish(answers)

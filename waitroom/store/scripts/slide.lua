-- slide: put in front of every script; slides the room's window as far as it may go.

local DOOR_US = 10000000 -- who does not ask again for this long has gone from the door
local SHOWN_LEFT = 100 -- of those who left the line, so many are known to whoever counts the people ahead
local MOST_FORGOTTEN = 20000 -- by which a floor rises in one call: an epoch that only tickets tell of may have millions to go
local UNCONFIRMED = '-' -- what the pass of a session names that was let in while the store was away, see waitroom/line/tickets.py
local KEPT_US = 86400000000 -- an epoch whose tickets have all had their turn is kept this long for those who are late

-- What nobody has come back to was no entry: its share of the rate is given back with the slot. Its number stays
-- called, so that whoever comes back later claims as any other who was called.
local function give_back(id)
  if redis.call('ZREM', FIRST, id) == 1 then
    remove({INSIDE, ENTRIES}, {id})
  end
end

local function end_leases()
  local over = redis.call('ZRANGEBYSCORE', INSIDE, '-inf', now)
  for _, id in ipairs(over) do
    give_back(id)
  end
  remove({INSIDE}, over)
  redis.call('ZREMRANGEBYSCORE', ENDED, '-inf', now)
end

local function clear_door()
  remove({DOOR, ASKED}, redis.call('ZRANGEBYSCORE', ASKED, '-inf', reached - DOOR_US))
end

-- A used ticket needs no memory once the floor alone makes it expired.
local function forget_used(name, from, to)
  for number = from, to, CHUNK do
    local ranks = {}
    for passed = number, math.min(number + CHUNK - 1, to) do
      ranks[#ranks + 1] = rank_of(name, passed)
    end
    redis.call('HDEL', USED, unpack(ranks))
  end
end

-- The floor never passes whoever stands at the door.
local function highest_floor(epoch)
  local lowest = redis.call('ZRANGEBYLEX', DOOR, '[' .. epoch.name, '+', 'LIMIT', 0, 1)[1]
  if lowest and epoch_of(lowest) == epoch.name then
    return number_of(lowest) - 1
  end
  return epoch.called
end

local function raise_floor(epoch, called)
  local floor = math.min(called, highest_floor(epoch), epoch.floor + MOST_FORGOTTEN)
  if floor > epoch.floor then
    forget_used(epoch.name, epoch.floor + 1, floor)
    epoch.floor = floor
  end
  return floor == called
end

-- The floor follows the calls, active_us later; after a loss not before all who stood at the door have asked again.
local function raise_floors()
  if room.opened ~= 'new' and now < settles_until() + DOOR_US then
    return
  end
  while true do
    local oldest = redis.call('LINDEX', CALLS, 0)
    if not oldest then break end
    local name, called, at = string.match(oldest, '(%S+):(%d+):(%d+)')
    if tonumber(at) + rules.active_us > reached then break end
    local epoch = find(name)
    if epoch and not raise_floor(epoch, tonumber(called)) then break end
    redis.call('LPOP', CALLS)
  end
end

local function end_epochs()
  local oldest, following = unpack(room.epochs)
  while following and oldest.floor >= oldest.issued and time_of(following.name) + KEPT_US < now do
    room.over = oldest.name
    table.remove(room.epochs, 1)
    oldest, following = unpack(room.epochs)
  end
end

-- Places that could be entered at this moment, whoever they were promised to.
local function count_places()
  local entered = count_entered()
  -- Those of the interval are kept beyond window_size too: another process may have a larger one.
  redis.call('ZREMRANGEBYRANK', ENTRIES, 0, -(math.max(rules.window_size, entered) + 1))
  room.inside = redis.call('ZCARD', INSIDE) + count_forgotten()
  room.entries, room.entered = entered, entered + count_unseen()
  return math.min(rules.capacity - room.inside, rules.window_size - room.entered)
end

local function pass_number(epoch)
  epoch.called = epoch.called + 1
  room.tally = room.tally + 1
  note_calling(epoch)
  return rank_of(epoch.name, epoch.called)
end

-- The epoch whose numbers are called next.
local function find_front()
  for _, epoch in ipairs(room.epochs) do
    if epoch.issued > epoch.called then
      return epoch
    end
  end
end

local function lowest_left()
  return redis.call('ZRANGEBYLEX', LEFT, '-', '+', 'LIMIT', 0, 1)[1]
end

-- Passes those in front who have given up; also forgets whom a store that was healed has called since. The floor
-- follows with the next call.
local function pass_left()
  local lowest = lowest_left()
  while lowest do
    local epoch = find(epoch_of(lowest))
    local waits = epoch and number_of(lowest) > epoch.called
    if waits and (epoch ~= find_front() or number_of(lowest) > epoch.called + 1) then break end
    redis.call('ZREM', LEFT, lowest)
    if waits then
      pass_number(epoch)
    end
    lowest = lowest_left()
  end
end

-- Calls the next `count` numbers of one epoch that nobody has given up, and answers how many there were; `promise` keeps
-- a place for each until it is claimed or claim_us are over.
local function call_in(epoch, most, promise, is_first)
  local may_have_left = redis.call('ZCARD', LEFT) > 0
  local count = 0
  while count < most and epoch.called < epoch.issued do
    local rank = pass_number(epoch)
    if not (may_have_left and redis.call('ZREM', LEFT, rank) == 1) then
      count = count + 1
      if promise then
        redis.call('ZADD', PROMISED, text(reached), rank)
      end
    end
  end
  room.free = math.max(0, room.free - count)
  if promise then
    note_calls(count)
  end
  note_call(epoch, is_first)
  return count
end

-- Who came before a loss comes before all who came after it.
local function call(count, promise, is_first)
  for _, epoch in ipairs(room.epochs) do
    if count > 0 and epoch.issued > epoch.called then
      count = count - call_in(epoch, count, promise, is_first)
    end
  end
end

-- What is left beyond those who are expected and those at the door.
local function count_expected_whole()
  return math.ceil(room.expected - 0.01)
end

local function count_free()
  room.free = math.max(0, room.places - count_expected_whole() - redis.call('ZCARD', DOOR))
end

-- First leases give way to newcomers where there is nobody whose turn it would be.
local function gives_way()
  return not room.is_settling and count_waiting() == 0 and redis.call('ZCARD', DOOR) == 0
end

-- How many newcomers would find a place, also that of a first lease whose request is over.
local function count_free_first()
  if not gives_way() then
    return room.free
  end
  local idle = redis.call('ZCOUNT', FIRST, '-inf', text(now))
  return math.max(room.free, room.places + idle - count_expected_whole())
end

-- The first leases to be given back so that a newcomer finds a place, oldest first; nil: they would not be enough.
local function find_idle()
  local promised = redis.call('ZCARD', PROMISED)
  local of_capacity = rules.capacity - room.inside - promised
  local of_rate = rules.window_size - room.entered - promised
  local found = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', FIRST, '-inf', text(now), 'LIMIT', 0, CHUNK)) do
    if of_capacity > 0 and of_rate > 0 then break end
    local entered_at = tonumber(redis.call('ZSCORE', ENTRIES, id) or 0)
    local frees_rate = entered_at > now - rules.interval_us
    if frees_rate or of_rate > 0 then
      found[#found + 1] = id
      of_capacity = of_capacity + 1
      of_rate = of_rate + (frees_rate and 1 or 0)
    end
  end
  return of_capacity > 0 and of_rate > 0 and found or nil
end

-- Makes a place for a newcomer out of what earlier visits have left behind; answers whether there is one.
local function displace()
  if not gives_way() then
    return false
  end
  count_called()
  room.expected = count_expected()
  local found = find_idle()
  if not found then
    return false
  end
  for _, id in ipairs(found) do
    give_back(id)
  end
  room.places = count_places()
  count_free()
  return room.free > 0
end

local function begin_room()
  heal()
  end_leases()
  end_epochs()
  room.is_settling = now < settles_until()
end

local function slide()
  clear_door()
  raise_floors()
  if not room.is_settling then
    pass_left()
  end
  room.places = count_places()
  if room.is_settling then
    room.places = 0
  end
  local count = 0
  if is_time_to_count() then
    count_expected_now()
    count_free()
    count = count_to_call()
  else
    room.free = 0
  end
  if count > 0 then
    call(count, true)
    pass_left() -- of whom the next one follows, a newcomer is to find nobody waiting
  end
  keep_pace(count)
end

-- A pass that still holds, of a session that this store has never known or has lost. One that it did know in its
-- newest epoch and has no more is over.
local function is_forgotten(id, pass_ends, known_in)
  return pass_ends > now and known_in ~= room.newest.name and not redis.call('ZSCORE', ENDED, id)
end

-- One of the forgotten is found again, unless it entered after they were counted, or no store has known of it: where
-- no process remembers, the places kept are those of a room that is full without it.
local function find_forgotten(entered_at, known_in)
  room.inside_found = room.inside_found + 1
  if entered_at > room.known_at or (known_in == UNCONFIRMED and room.opened ~= 'processes') then
    room.inside_known = room.inside_known + 1
  end
end

-- Where the floor alone makes a ticket expired, nothing would ever take the note away.
local function note_used(rank, at)
  if not is_passed(epoch_of(rank), number_of(rank)) then
    redis.call('HSET', USED, rank, text(at))
  end
end

-- A session that the store has in use. A first lease ends with its pass, and uses no ticket up before it has come back.
local function put_inside(rank, id, entered_at, pass_ends, first)
  redis.call('ZADD', INSIDE, text(pass_ends + (first and 0 or GRACE_US)), id)
  redis.call('ZADD', ENTRIES, text(math.min(entered_at, now)), id) -- by a clock that was lost it may be hours ahead
  redis.call('ZREM', PROMISED, rank)
  remove({DOOR, ASKED}, {rank})
  if first then
    redis.call('ZADD', FIRST, text(now + rules.running_us), id)
  else
    note_used(rank, entered_at)
  end
end

-- Takes a place: the one step that counts against capacity and rate.
local function enter(rank, id, pass_ends, first)
  put_inside(rank, id, now, pass_ends, first)
  room.inside = room.inside + 1
  room.entered = room.entered + 1
  room.places = room.places - 1
end

-- A session may last max_session_us after it entered, however much it is used; 0 is no end.
local function pass_end(entered_at, lease_us)
  local at = now + lease_us
  if rules.max_session_us > 0 then
    at = math.min(at, entered_at + rules.max_session_us)
  end
  return at
end

-- What a first lease lasts is never more than a full one: by that is told how long one that was lost is to be feared.
local function first_end(entered_at)
  return pass_end(entered_at, math.min(rules.lease_us, rules.running_us + rules.first_lease_us))
end

-- The cookie of a first lease came back: it is full from now on, and counts from its entry.
local function confirm(rank, id, entered_at)
  redis.call('ZREM', FIRST, id)
  if not is_passed(epoch_of(rank), number_of(rank)) then
    redis.call('HSETNX', USED, rank, text(entered_at)) -- it may have entered again, by a copy of the pass
  end
  local ends = pass_end(entered_at, rules.lease_us)
  redis.call('ZADD', INSIDE, 'GT', text(ends + GRACE_US), id)
  return ends
end

-- Those called lately for whom there are places now, as {lowest, highest}: no more numbers than there are places.
local function find_sure()
  local lowest = redis.call('ZRANGEBYSCORE', PROMISED, after(reached - rules.claim_us / 2), '+inf', 'LIMIT', 0, 1)[1]
  if not lowest then
    return false
  end
  local count = room.places - redis.call('ZLEXCOUNT', DOOR, '-', '(' .. lowest)
  return count > 0 and {lowest, rank_of(epoch_of(lowest), number_of(lowest) + count - 1)}
end

-- What every script answers first: the room after the script.
local function view()
  if count_waiting() == 0 then
    room.calling = room.newest.name
  end
  local epochs = {}
  for i, epoch in ipairs(room.epochs) do
    epochs[i] = {epoch.name, text(epoch.issued), text(epoch.called), text(epoch.floor)}
  end
  local left = redis.call('ZCARD', LEFT)
  return {
    text(now), room.generation, room.over, epochs, room.calling or room.epochs[1].name,
    room.inside, room.free, count_free_first(), room.per_minute and text(room.per_minute * 1000) or false,
    room.ended_version, room.entered, room.is_settling and 1 or 0, find_sure(), room.is_blind and 1 or 0,
    room.is_slower and 1 or 0, redis.call('ZCARD', DOOR), left,
    left > 0 and redis.call('ZRANGEBYLEX', LEFT, '-', '+', 'LIMIT', 0, SHOWN_LEFT) or {}, text(room.backlog or 0),
  }
end

-- Ends every script that may change the room.
local function finish(answers)
  local seen = view()
  keep_room()
  return {seen, answers}
end

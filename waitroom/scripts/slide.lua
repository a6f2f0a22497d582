-- slide: put in front of every other script; reads the room and slides its window as far as it may go.
--
-- KEYS  1 state     hash   generation, epoch, issued, called, floor, ended_version, rules, pace fields
--       2 inside    zset   session id -> when its lease ends
--       3 first     zset   session id -> when it entered, for leases whose cookie has not come back yet
--       4 entries   zset   session id -> when it entered, the last window_size of them and those of the interval
--       5 calls     list   "called:when", one for each slide within the active windows, oldest first
--       6 promised  zset   rank -> when it was called, for those called who did not enter yet, for claim_us
--       7 door      zset   rank, in rank order: called, came, found no free place
--       8 asked     zset   rank -> when it last asked, for those at the door
--       9 used      hash   rank -> when it entered (0: it left unused), until the floor has passed it
--      10 ended     zset   session id -> when its last pass runs out, for sessions that ended early
--      11 counters  hash   name -> how often it happened since the room began, as processes have told
-- ARGV  1 rules     JSON: tag, window_size, interval_us, active_us, claim_us, capacity, lease_us,
--                   first_lease_us, max_session_us, and in tests now_us
--       2 items     JSON, a list: what each script documents; its answers come in the same order
--
-- All times are the store's own clock in microseconds, which a Lua number holds exactly.
-- A rank is written "epoch:number" with both parts of fixed width, so that it sorts as text.

local STATE, INSIDE, FIRST, ENTRIES, CALLS, PROMISED, DOOR, ASKED, USED, ENDED, COUNTERS = unpack(KEYS)
local GRACE_US = 30000000 -- the store keeps a lease this much longer than its pass
local DOOR_US = 10000000 -- who does not ask again for this long has gone from the door
local PACE_US = 60000000 -- the measured rate spans one to two of these
local SHORTEST_PACE_US = 5000000
local CHUNK = 1000 -- well below what unpack() can put on Lua's stack

local rules = cjson.decode(ARGV[1])
local items = cjson.decode(ARGV[2])
local now = rules.now_us
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local room = {} -- the window, as the rest of the script sees it

local function text(number)
  return string.format('%.0f', number)
end

local function rank_of(epoch, number)
  return epoch .. ':' .. string.format('%016.0f', number)
end

local function number_of(rank)
  return tonumber(string.sub(rank, -16))
end

local function is_called(epoch, number)
  return epoch < room.epoch or (epoch == room.epoch and number <= room.called)
end

local function is_passed(epoch, number)
  return epoch == room.epoch and number <= room.floor
end

local function remove(keys, members)
  for from = 1, #members, CHUNK do
    local part = {unpack(members, from, math.min(from + CHUNK - 1, #members))}
    for _, key in ipairs(keys) do
      redis.call('ZREM', key, unpack(part))
    end
  end
end

local function read_room()
  local fields = redis.call(
    'HMGET', STATE, 'generation', 'epoch', 'issued', 'called', 'floor', 'ended_version', 'rules'
  )
  room.generation = tonumber(fields[1]) or 1
  room.epoch = fields[2]
  room.issued = tonumber(fields[3]) or 0
  room.called = tonumber(fields[4]) or 0
  room.floor = tonumber(fields[5]) or 0
  room.ended_version = tonumber(fields[6]) or 0
  room.rules_told = fields[7]
end

-- A room begins with the first script that may change it.
local function begin_room()
  if not room.epoch then
    room.epoch = string.format('%016.0f', now) .. '-' .. rules.tag
    redis.call('HSET', STATE, 'generation', room.generation, 'epoch', room.epoch)
  end
  -- For whoever looks from outside and has no settings of the room's.
  local told = string.format('%.0f %.0f %.0f', rules.capacity, rules.window_size, rules.interval_us)
  if told ~= room.rules_told then
    redis.call('HSET', STATE, 'rules', told)
  end
end

local function end_leases()
  remove({INSIDE, FIRST}, redis.call('ZRANGEBYSCORE', INSIDE, '-inf', now))
  redis.call('ZREMRANGEBYSCORE', ENDED, '-inf', now)
end

local function clear_door()
  remove({DOOR, ASKED}, redis.call('ZRANGEBYSCORE', ASKED, '-inf', now - DOOR_US))
end

-- A used ticket needs no memory once the floor alone makes it expired.
local function forget_used(from, to)
  for number = from, to, CHUNK do
    local ranks = {}
    for passed = number, math.min(number + CHUNK - 1, to) do
      ranks[#ranks + 1] = rank_of(room.epoch, passed)
    end
    redis.call('HDEL', USED, unpack(ranks))
  end
end

-- The floor follows the calls, active_us later, but never passes whoever stands at the door.
local function raise_floor()
  local limit = room.called
  local lowest = redis.call('ZRANGEBYLEX', DOOR, '[' .. room.epoch, '+', 'LIMIT', 0, 1)[1]
  if lowest then
    limit = number_of(lowest) - 1
  end
  local floor = room.floor
  while floor < limit do
    local oldest = redis.call('LINDEX', CALLS, 0)
    if not oldest then break end
    local called, at = string.match(oldest, '(%d+):(%d+)')
    if tonumber(at) + rules.active_us > now then break end
    floor = math.max(floor, math.min(tonumber(called), limit))
    if tonumber(called) > limit then break end
    redis.call('LPOP', CALLS)
  end
  if floor > room.floor then
    forget_used(room.floor + 1, floor)
    room.floor = floor
    redis.call('HSET', STATE, 'floor', text(floor))
  end
end

-- Places that could be entered at this moment, whoever they were promised to.
local function count_places()
  local entered = redis.call('ZCOUNT', ENTRIES, '(' .. text(now - rules.interval_us), '+inf')
  -- Those of the interval are kept beyond window_size too: another process may have a larger one.
  redis.call('ZREMRANGEBYRANK', ENTRIES, 0, -(math.max(rules.window_size, entered) + 1))
  room.inside = redis.call('ZCARD', INSIDE)
  return math.min(rules.capacity - room.inside, rules.window_size - entered)
end

local function count_promises()
  redis.call('ZREMRANGEBYSCORE', PROMISED, '-inf', now - rules.claim_us)
  return redis.call('ZCARD', PROMISED)
end

-- Of the free places those for first leases: unconfirmed ones hold at most a quarter of the capacity and of the rate, but at least 10.
local function count_free_first()
  local held = redis.call('ZCARD', FIRST)
  local recent = redis.call('ZCOUNT', FIRST, '(' .. text(now - rules.interval_us), '+inf')
  local of_capacity = math.max(10, math.floor(rules.capacity / 4)) - held
  local of_rate = math.max(10, math.floor(rules.window_size / 4)) - recent
  return math.max(0, math.min(room.free, of_capacity, of_rate))
end

-- The rate is measured from call to call while a line stands; over a time without one it would mean nothing.
local function keep_pace(called_now)
  local fields = redis.call('HMGET', STATE, 'pace_called', 'pace_at', 'next_called', 'next_at', 'call_at')
  if room.issued == room.called then
    if fields[2] then
      redis.call('HDEL', STATE, 'pace_called', 'pace_at', 'next_called', 'next_at', 'call_at')
    end
    return
  end
  local pace_called, pace_at = tonumber(fields[1]), tonumber(fields[2])
  local next_called, next_at, call_at = tonumber(fields[3]), tonumber(fields[4]), tonumber(fields[5])
  if not pace_at then
    local at, called = text(now), text(room.called)
    redis.call('HSET', STATE, 'pace_called', called, 'pace_at', at, 'next_called', called, 'next_at', at, 'call_at', at)
    return
  end
  if called_now > 0 then
    call_at = now
    redis.call('HSET', STATE, 'call_at', text(now))
    if now - next_at >= PACE_US then
      pace_called, pace_at = next_called, next_at
      redis.call('HSET', STATE, 'pace_called', text(next_called), 'pace_at', text(next_at),
        'next_called', text(room.called), 'next_at', text(now))
    end
  end
  local span = math.max(call_at, now - rules.interval_us) - pace_at
  if span >= math.max(rules.interval_us, SHORTEST_PACE_US) then
    room.per_minute = (room.called - pace_called) / span * 60000000
  end
end

-- Calls the next `count` numbers; `promise` keeps a place for each until it is claimed or claim_us are over.
local function call(count, promise)
  for number = room.called + 1, promise and room.called + count or room.called do
    redis.call('ZADD', PROMISED, now, rank_of(room.epoch, number))
  end
  room.called = room.called + count
  room.free = room.free - count
  room.promised = room.promised + (promise and count or 0)
  redis.call('RPUSH', CALLS, text(room.called) .. ':' .. text(now))
  redis.call('HSET', STATE, 'called', text(room.called))
end

-- What neither a promise nor somebody at the door has a claim to.
local function count_free()
  room.free = math.max(0, room.places - room.promised - redis.call('ZCARD', DOOR))
end

local function slide()
  begin_room()
  end_leases()
  clear_door()
  raise_floor()
  room.places = count_places()
  room.promised = count_promises()
  count_free()
  local count = math.min(room.free, room.issued - room.called)
  if count > 0 then
    call(count, true)
  end
  keep_pace(count)
end

-- Takes a place: the one step that counts against capacity and rate.
local function enter(rank, id, lease_us, first)
  redis.call('ZADD', INSIDE, now + lease_us + GRACE_US, id)
  redis.call('ZADD', ENTRIES, now, id)
  redis.call('HSET', USED, rank, text(now))
  redis.call('ZREM', PROMISED, rank)
  remove({DOOR, ASKED}, {rank})
  if first then
    redis.call('ZADD', FIRST, now, id)
  end
  room.inside = room.inside + 1
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

-- What every script answers first: the room after the script.
local function view()
  return {
    text(now), room.generation, room.epoch, text(room.issued), text(room.called), text(room.floor),
    room.inside, room.free, count_free_first(), room.per_minute and text(room.per_minute * 1000) or false,
    room.ended_version,
  }
end

read_room()

-- state: put in front of every script, before the others; reads the room and keeps what has changed of it.
--
-- KEYS  1 state     hash   the registers below
--       2 inside    zset   session id -> when its lease ends
--       3 first     zset   session id -> until when its request is taken to run, for leases whose cookie has not come back
--       4 entries   zset   session id -> when it entered, the last window_size of them and those of the interval
--       5 calls     list   "epoch:called:when", one for each slide within the active windows, oldest first
--       6 promised  zset   rank -> when it was called, for those called who did not enter yet, for claim_us
--       7 door      zset   rank, in rank order: called, came, found no free place
--       8 asked     zset   rank -> when it last asked, for those at the door
--       9 used      hash   rank -> when it entered (0: it left unused), until the floor has passed it
--      10 ended     zset   session id -> when its last pass runs out, for sessions that ended early
--      11 counters  hash   name -> how often it happened since the room began, as processes have told
--      12 joined    zset   id -> number, of the newest epoch: the MOST_JOINED that were given last, see join
--      13 left      zset   rank, in rank order: given up while it waited, the lowest of them
--      14 endings   zset   "id pass_ends" -> the ended_version with which it was listed, for those in `ended`, see ended
-- ARGV  1 rules     JSON: tag, window_size, interval_us, active_us, claim_us, capacity, lease_us, first_lease_us,
--                   running_us, max_session_us, settle_us, longest_poll_us, and in tests now_us and history
--       2 items     JSON, a list: what each script documents; its answers come in the same order
--       3 memory    JSON: what the caller knows of the room; see heal
--
-- Times are the room's clock in microseconds, which a Lua number holds exactly: the store's own, but that it
-- never goes back. A rank is written "epoch:number" with both parts of fixed width, so that it sorts as text.

local STATE, INSIDE, FIRST, ENTRIES, CALLS, PROMISED, DOOR, ASKED, USED, ENDED, COUNTERS, JOINED, LEFT, ENDINGS =
  unpack(KEYS)
local GRACE_US = 30000000 -- the store keeps a lease this much longer than its pass
local HERE_US = 3000000 -- who stands at the door is told to ask more often than this
local JUMP_US = 30000000 -- more than callers and store can drift apart between two calls
local CHUNK = 1000 -- well below what unpack() can put on Lua's stack

local REGISTERS = {
  'generation', -- bumped when the operator resets the room
  'over', -- of this epoch and those before it every ticket has expired
  'epochs', -- "epoch issued called floor", of each epoch that is not over, oldest first, with commas between
  'calling', -- the newest epoch of which somebody was called
  'clock', -- the latest time that was ever told
  'shift', -- what is added to the store's clock
  'unreached', -- how long, in all, nobody could reach the store
  'history', -- the server's replication id, which changes when the server may have lost something
  'opened_at', -- when the newest epoch began
  'opened', -- and why: a "new" room, or one that has "lost" something, which "processes" or only "tickets" remember
  'lost_at', -- the latest time that the store knew of then: whoever was told a later one knows what was lost
  'inside_known', -- most sessions that anybody knew to be inside when it began
  'known_at', -- when that was told to whoever knew it: who entered later is not among them
  'inside_found', -- those of them that were in the store, or have come back since
  'entered_known', -- most entries that anybody knew of in the interval before
  'entered_found', -- those of them that were in the store
  'tally', -- numbers called, in whatever epoch; the pace is measured by it
  'pace', -- how fast the line moves, while there is one; see pace
  'ended_version', -- counts the sessions that ended early
  'ended_noted', -- the same, as of those that are in `endings`
  'shows', -- how many of those called come and how soon, see ahead
  'came', -- how many of them came lately, and since when nobody has, see ahead
  'rules', -- "capacity window_size interval_us", for whoever looks and has no settings of the room's
}

local rules = cjson.decode(ARGV[1])
local items = cjson.decode(ARGV[2])
local memory = cjson.decode(ARGV[3])
local now
local reached -- the time, less that in which nobody could reach the store: what those called are given goes by it
local room = {} -- the window, as the rest of the script sees it
local write_shows, write_came -- of ahead
local kept -- the registers as they were read

local function text(number)
  return string.format('%.0f', number)
end

local function rank_of(epoch, number)
  return epoch .. ':' .. string.format('%016.0f', number)
end

local function number_of(rank)
  return tonumber(string.sub(rank, -16))
end

local function epoch_of(rank)
  return string.sub(rank, 1, -18)
end

local function time_of(epoch)
  return tonumber(string.sub(epoch, 1, 16))
end

local function after(time)
  return '(' .. text(time)
end

local function remove(keys, members)
  for from = 1, #members, CHUNK do
    local part = {unpack(members, from, math.min(from + CHUNK - 1, #members))}
    for _, key in ipairs(keys) do
      redis.call('ZREM', key, unpack(part))
    end
  end
end

-- The epochs --------------------------------------------------------------------------------------

local function find(name)
  for _, epoch in ipairs(room.epochs) do
    if epoch.name == name then
      return epoch
    end
  end
end

local function add_epoch(epoch)
  room.epochs[#room.epochs + 1] = epoch
  table.sort(room.epochs, function(one, other) return one.name < other.name end)
  room.newest = room.epochs[#room.epochs]
  return epoch
end

local function is_called(name, number)
  local epoch = find(name)
  return epoch and number <= epoch.called
end

local function is_passed(name, number)
  local epoch = find(name)
  return name <= room.over or (epoch and number <= epoch.floor)
end

local function count_waiting()
  local waiting = 0
  for _, epoch in ipairs(room.epochs) do
    waiting = waiting + epoch.issued - epoch.called
  end
  return waiting
end

local function note_calling(epoch)
  if not room.calling or epoch.name > room.calling then
    room.calling = epoch.name
  end
end

-- First visits may be many and most of them nobody's: of those the next call is enough to tell when the floor passes them.
local function note_call(epoch, is_first)
  local last = is_first and redis.call('LINDEX', CALLS, -1)
  local name, at = string.match(last or '', '(%S+):%d+:(%d+)')
  if name ~= epoch.name or tonumber(at) <= reached - rules.active_us / 100 then
    redis.call('RPUSH', CALLS, epoch.name .. ':' .. text(epoch.called) .. ':' .. text(reached))
  end
  note_calling(epoch)
end

-- What a loss leaves to be feared -----------------------------------------------------------------

local function count_entered()
  return redis.call('ZCOUNT', ENTRIES, after(now - rules.interval_us), '+inf')
end

-- Sessions that the store has lost may be in use until the last of their passes has run out.
local function count_forgotten()
  local is_over = now >= room.opened_at + rules.lease_us
  return is_over and 0 or math.max(0, room.inside_known - room.inside_found)
end

local function count_unseen()
  local is_over = now >= room.opened_at + rules.interval_us
  return is_over and 0 or math.max(0, room.entered_known - room.entered_found)
end

-- Until then nobody is called and nobody enters.
local function settles_until()
  if room.opened == 'new' then
    return 0
  end
  local longest = room.opened == 'tickets' and rules.longest_poll_us or 0
  return room.opened_at + math.max(rules.settle_us, longest)
end

-- Reading and keeping -----------------------------------------------------------------------------

-- They are written in order. Two primaries that cannot see each other may have made hundreds.
local function read_epochs(written)
  room.epochs = {}
  for name, issued, called, floor in string.gmatch(written, '([^, ]+) (%d+) (%d+) (%d+)') do
    room.newest = {name = name, issued = tonumber(issued), called = tonumber(called), floor = tonumber(floor)}
    room.epochs[#room.epochs + 1] = room.newest
  end
end

local function write_epochs()
  local written = {}
  for i, epoch in ipairs(room.epochs) do
    written[i] = string.format('%s %.0f %.0f %.0f', epoch.name, epoch.issued, epoch.called, epoch.floor)
  end
  return table.concat(written, ',')
end

local function read_room()
  kept = {}
  for i, value in ipairs(redis.call('HMGET', STATE, unpack(REGISTERS))) do
    kept[REGISTERS[i]] = value
  end
  local function number(register, default)
    return tonumber(kept[register]) or default
  end
  room.generation = number('generation', 1)
  room.over = kept.over or ''
  read_epochs(kept.epochs or '')
  room.calling = kept.calling
  room.clock = number('clock', 0)
  room.shift = number('shift', 0)
  room.unreached = number('unreached', 0)
  room.history = kept.history
  room.opened_at = number('opened_at', 0)
  room.opened = kept.opened or 'new'
  room.lost_at = number('lost_at', 0)
  room.inside_known = number('inside_known', 0)
  room.known_at = number('known_at', 0)
  room.inside_found = number('inside_found', 0)
  room.entered_known = number('entered_known', 0)
  room.entered_found = number('entered_found', 0)
  room.tally = number('tally', 0)
  room.ended_version = number('ended_version', 0)
  room.ended_noted = number('ended_noted', 0)
end

local function keep_room()
  room.clock = math.max(room.clock, now)
  local registers = {
    generation = text(room.generation), over = room.over, epochs = write_epochs(), calling = room.calling,
    clock = text(room.clock), shift = text(room.shift), unreached = text(room.unreached), history = room.history,
    opened_at = text(room.opened_at), opened = room.opened, lost_at = text(room.lost_at),
    inside_known = text(room.inside_known), inside_found = text(room.inside_found), known_at = text(room.known_at),
    entered_known = text(room.entered_known), entered_found = text(room.entered_found),
    tally = text(room.tally), pace = room.pace or (kept.pace and ''), ended_version = text(room.ended_version),
    ended_noted = text(room.ended_noted), shows = write_shows(), came = write_came(),
    rules = string.format('%.0f %.0f %.0f', rules.capacity, rules.window_size, rules.interval_us),
  }
  local changed = {}
  for _, register in ipairs(REGISTERS) do
    local value = registers[register]
    if value and value ~= kept[register] then
      changed[#changed + 1] = register
      changed[#changed + 1] = value
    end
  end
  if changed[1] then
    redis.call('HSET', STATE, unpack(changed))
  end
end

-- Since the last script that this store knows of nobody could come in, as far as it knows.
local function skip_unreached()
  if room.clock > 0 then
    room.unreached = room.unreached + now - room.clock
    reached = now - room.unreached
  end
end

-- A clock that went back, as that of a replica may at a failover, goes on from where it was. One that jumped
-- ahead would end every session: the caller knows how much time has passed since the store last told it.
local function tell_time()
  local time = rules.now_us
  if not time then
    local told = redis.call('TIME')
    time = told[1] * 1000000 + told[2]
  end
  local last = math.max(room.clock, memory.clock or 0)
  now = time + room.shift
  if now < last then
    now = last
  elseif memory.expected and now > math.max(last, memory.expected) + JUMP_US then
    now = math.max(last, memory.expected)
  end
  room.shift = now - time
  reached = now - room.unreached
  if memory.failed then
    skip_unreached()
  end
end

read_room()
tell_time()

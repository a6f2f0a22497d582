-- heal: put in front of every script; notices that the store has lost something, and goes on without losing a place.
--
-- memory  clock       the latest time that the store told the caller
--         failed      whether the caller's last call failed
--         expected    what it should tell by now, from the time that has passed on the caller's machine
--         generation, epochs {epoch, issued, called, floor}, inside, entered: as the store last told the caller
--         told        {epoch, issued, called, 0, generation} out of signed tickets and passes, where they go beyond that
--
-- All of it only ever grows, so that views merge by taking the greater, in any order and any number of times.
-- What somebody was told and the store does not know is proof of a loss: a new epoch begins, which ranks
-- behind all that came before. Nobody is called or enters until those who came before have had time to report.

-- Merges what is known of one epoch; answers whether the store knew less.
local function learn(name, issued, called, floor)
  if name <= room.over then
    return false
  end
  local epoch = find(name)
  local knew = epoch and epoch.issued >= issued and epoch.called >= called and epoch.floor >= floor
  epoch = epoch or add_epoch({name = name, issued = 0, called = 0, floor = 0})
  epoch.issued = math.max(epoch.issued, issued)
  epoch.floor = math.max(epoch.floor, floor)
  if called > epoch.called then
    epoch.called = called
    note_call(epoch)
  end
  return not knew
end

-- Answers whether something new was in it, and whether that is a loss: of older epochs, in which no numbers are
-- given any more, anybody may be late to report.
local function merge(epochs)
  local newest = room.newest and room.newest.name or ''
  local is_news, is_loss = false, false
  for _, epoch in ipairs(epochs) do
    if learn(unpack(epoch)) then
      is_news = true
      is_loss = is_loss or epoch[1] >= newest
    end
  end
  return is_news, is_loss
end

-- A server that does not let a script ask is taken at the word of those who were here before.
local function is_another_history()
  local history = rules.history
  if history == nil then
    local info = redis.pcall('INFO', 'replication')
    -- A replica that takes writes would lose them with its next sync. The caller goes to look for the primary.
    if type(info) == 'string' and string.find(info, 'role:slave', 1, true) then
      error({err = 'READONLY this server is a replica, whatever it lets its clients write'})
    end
    history = type(info) == 'string' and string.match(info, 'master_replid:(%w+)')
  end
  room.is_blind = not history
  local is_another = history and room.history and history ~= room.history
  room.history = history or room.history
  return is_another
end

-- A renewal may be among what was lost, also of a lease that has run out as the store has it: the pass may live this long.
local function prolong_leases()
  local inside = redis.call('ZRANGEBYSCORE', INSIDE, after(now - rules.lease_us - GRACE_US), '+inf')
  for _, id in ipairs(inside) do
    redis.call('ZADD', INSIDE, 'GT', text(now + rules.lease_us + GRACE_US), id)
  end
  redis.call('ZREMRANGEBYSCORE', FIRST, '-inf', '+inf') -- that their cookies came back may be lost as well
end

local function highest_issued()
  local highest = 0
  for _, epoch in ipairs(room.epochs) do
    highest = math.max(highest, epoch.issued)
  end
  return highest
end

-- Numbers go on from the highest that is known, so that no page counts backwards.
local function open_epoch(why)
  local stamp, highest = now, highest_issued()
  for _, epoch in ipairs(room.epochs) do
    stamp = math.max(stamp, time_of(epoch.name) + 1)
  end
  if room.over ~= '' then
    stamp = math.max(stamp, time_of(room.over) + 1)
  end
  prolong_leases()
  local name = string.format('%016.0f', stamp) .. '-' .. rules.tag
  local inside, entered = redis.call('ZCARD', INSIDE), count_entered()
  room.inside_known, room.inside_found, room.known_at = inside + count_forgotten(), inside, room.clock
  room.entered_known, room.entered_found = entered + count_unseen(), entered
  room.opened, room.opened_at, room.lost_at = why, now, room.clock
  add_epoch({name = name, issued = highest, called = highest, floor = highest})
  redis.call('ZREMRANGEBYSCORE', JOINED, '-inf', '+inf')
end

local function heed_process()
  local is_first = room.opened == 'tickets' -- what had to be feared so far
  room.opened = 'processes'
  if is_first then
    -- Who has come back meanwhile may not be among those that this process knew of.
    room.inside_known = math.min(room.inside_known, memory.inside + room.inside_found)
    room.entered_known = math.min(room.entered_known, memory.entered + room.entered_found)
    room.known_at = memory.clock
  elseif memory.inside >= room.inside_known then
    room.inside_known = memory.inside
    room.known_at = math.max(room.known_at, memory.clock)
  end
  room.entered_known = math.max(room.entered_known, memory.entered)
end

-- Where no process remembers, as many could be inside as ever may be.
local function heed_tickets()
  room.opened = 'tickets'
  room.inside_known = math.max(room.inside_known, rules.capacity)
  room.known_at = room.opened_at
  room.entered_known = math.max(room.entered_known, rules.window_size)
end

-- What was told at a later time than the store knows of was lost, whatever else is still there.
local function is_clock_behind()
  return memory.clock and memory.clock > room.clock
end

-- A process that was told nothing later than what the store had kept knows of nothing that it lost.
local function remembers()
  local known = memory.epochs[#memory.epochs]
  return known and known[1] < room.newest.name and memory.clock > room.lost_at
end

local function heal()
  local before = room.newest and room.newest.name
  local is_loss = is_another_history() or is_clock_behind() or memory.generation > room.generation
  local is_news, is_behind = merge(memory.epochs)
  local is_told, is_behind_tickets = merge(memory.told)
  for _, told in ipairs(memory.told) do
    room.generation = math.max(room.generation, told[5])
  end
  room.generation = math.max(room.generation, memory.generation)
  if not before then
    open_epoch((memory.epochs[1] or is_told) and 'lost' or 'new')
  elseif is_loss or is_behind or is_behind_tickets then
    if not memory.failed then -- else it was skipped before
      skip_unreached()
    end
    open_epoch('lost')
  end
  if remembers() then
    heed_process()
  elseif (is_news or is_told) and room.opened ~= 'processes' then
    heed_tickets()
  end
end

-- look: the room for an operator's eyes; changes nothing, not even by sliding the window.
--
-- items   the names of the counters
-- answer  name, value, … of what `waitroom status` shows; empty where there is no such room

if not room.newest then
  return {}
end

local function count(key, from)
  return redis.call('ZCOUNT', key, '(' .. text(from), '+inf')
end

local calling = find(room.calling) or room.newest
local capacity, window_size, interval_us = string.match(kept.rules or '', '(%d+) (%d+) (%d+)')
return {
  'generation', room.generation,
  'epoch', calling.name,
  'epochs', #room.epochs,
  'issued', text(calling.issued),
  'called', text(calling.called),
  'floor', text(calling.floor),
  'waiting', text(count_waiting()),
  'inside', count(INSIDE, now),
  'first_leases', redis.call('ZCARD', FIRST),
  'capacity', capacity or false,
  'window_size', window_size or false,
  'interval_us', interval_us or false,
  'entered_in_interval', interval_us and count(ENTRIES, now - interval_us) or false,
  'promised', redis.call('ZCARD', PROMISED),
  'at_the_door', redis.call('ZCARD', DOOR),
  'ended_early', count(ENDED, now),
  'counters', redis.call('HMGET', COUNTERS, unpack(items)),
}

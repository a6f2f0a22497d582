-- spend: uses up what may be used once: a solved challenge, or a proof that has waited. It stands alone, without slide.
--
-- Used ones are kept for as long as they could come back, as bytes of a pad each: a million of them in ten minutes are
-- a million bytes and four thousand pads, and the pads of the time before go with the next call.
--
-- KEYS    1 hash: pad -> a byte for each slot of it that was used; 2 zset: pad -> when it can be forgotten, us
-- ARGV    1 pad, 2 slot (0 to 255), 3 for how many us it is kept, 4 the time in us, in tests only, else ''
-- answer  -1 now it is used, else it was used before: that many us ago at least, by the last use of its pad

local USED, ENDS = unpack(KEYS)
local pad, slot, keeps = ARGV[1], string.char(tonumber(ARGV[2])), tonumber(ARGV[3])

local now = tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

for _, over in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('HDEL', USED, over)
  redis.call('ZREM', ENDS, over)
end

local used = redis.call('HGET', USED, pad) or ''
if string.find(used, slot, 1, true) then
  return math.max(0, now + keeps - tonumber(redis.call('ZSCORE', ENDS, pad)))
end
redis.call('HSET', USED, pad, used .. slot)
redis.call('ZADD', ENDS, string.format('%.0f', now + keeps), pad)
return -1

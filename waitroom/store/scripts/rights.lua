-- rights: which of the commands that the other scripts call this user may not; leaves nothing behind.
--
-- KEYS    1 a hash, 2 a list, 3 a zset: keys of the room that nothing else uses
-- answer  the names of the commands that are denied, in lower case; what else is wrong is the script's error

local HASH, LIST, ZSET = unpack(KEYS)

local DENIALS = {'NOPERM', 'ACL failure', "can't run"} -- of Redis and Valkey, by versions

local denied = {}

local function may(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) ~= 'table' or not answer.err then
    return true
  end
  for _, words in ipairs(DENIALS) do
    if string.find(answer.err, words, 1, true) then
      denied[#denied + 1] = string.lower(command)
      return false
    end
  end
  error(answer)
end

may('TIME')

-- What takes away comes first: where it is denied nothing is written, as it would stay.
if may('HDEL', HASH, 'field') then
  may('HSET', HASH, 'field', 1)
  may('HSETNX', HASH, 'field', 1)
  may('HINCRBY', HASH, 'field', 1)
  redis.call('HDEL', HASH, 'field')
end
may('HGET', HASH, 'field')
may('HMGET', HASH, 'field')

if may('LPOP', LIST) and may('RPUSH', LIST, 'entry') then
  redis.call('LPOP', LIST)
end
may('LINDEX', LIST, 0)

if may('ZREM', ZSET, 'member') and may('ZADD', ZSET, 0, 'member') then
  redis.call('ZREM', ZSET, 'member')
end
may('ZREMRANGEBYRANK', ZSET, 0, -1)
may('ZREMRANGEBYSCORE', ZSET, '-inf', '+inf')
may('ZCARD', ZSET)
may('ZCOUNT', ZSET, '-inf', '+inf')
may('ZLEXCOUNT', ZSET, '-', '+')
may('ZRANGE', ZSET, 0, -1)
may('ZRANGEBYLEX', ZSET, '-', '+')
may('ZRANGEBYSCORE', ZSET, '-inf', '+inf')
may('ZSCORE', ZSET, 'member')

return denied

-- leave: ends sessions early and gives up tickets; repeating it is harmless.
--
-- items   [generation, epoch, number, id] of a ticket; of a pass also when it ends, the epoch whose store has known it
--         last, and when it entered
-- answer  view, and for each until when the session's copies have to be refused; 0: there was no session

local MOST_LEFT = 400 -- the lowest of those who left; who left beyond them is a no-show

-- Where the list of the ended is full, nobody would refuse the copies: the slot stays taken until the lease ends.
local function end_session(id, lease_ends)
  if endings.are_full() then
    return 0
  end
  local pass_ends = lease_ends - GRACE_US
  redis.call('ZREM', INSIDE, id)
  note_leaving()
  if pass_ends <= now then
    return 0
  end
  endings.add(id, pass_ends)
  return text(pass_ends)
end

-- A session that the store has lost is ended all the same: copies of its pass would bring it back, also of a longer
-- one that was given just before.
local function end_forgotten(rank, id, pass_ends, known_in, entered_at)
  note_used(rank, now)
  remove({PROMISED, DOOR, ASKED}, {rank})
  find_forgotten(entered_at, known_in)
  return end_session(id, math.max(pass_ends, now + rules.lease_us) + GRACE_US)
end

-- Copies of its pass need no list: each is asked at the store, which finds that the ticket was used.
local function end_first(rank, id)
  redis.call('ZREM', INSIDE, id)
  note_used(rank, 0)
  note_leaving()
  return 0
end

-- No place is promised to a number that was given up while it waited.
local function give_up(name, number)
  local epoch = find(name)
  if epoch and number <= epoch.issued then
    redis.call('ZADD', LEFT, 0, rank_of(name, number))
    redis.call('ZREMRANGEBYRANK', LEFT, MOST_LEFT, -1)
  end
end

local function leave(generation, epoch, number, id, pass_ends, known_in, entered_at)
  local lease_ends = redis.call('ZSCORE', INSIDE, id)
  if redis.call('ZREM', FIRST, id) == 1 then
    return end_first(rank_of(epoch, number), id)
  end
  if lease_ends then
    return end_session(id, tonumber(lease_ends))
  end
  if generation ~= room.generation then
    return 0
  end
  local rank = rank_of(epoch, number)
  if pass_ends and is_forgotten(id, pass_ends, known_in) then
    return end_forgotten(rank, id, pass_ends, known_in, entered_at)
  end
  if is_passed(epoch, number) then
    return 0
  end
  if is_called(epoch, number) then
    redis.call('HSETNX', USED, rank, 0)
    remove({PROMISED, DOOR, ASKED}, {rank})
  else
    give_up(epoch, number)
  end
  return 0
end

begin_room()
endings.mend()
endings.forget()
local answers = {}
for i, credential in ipairs(items) do
  answers[i] = leave(unpack(credential))
end
slide() -- last, so that the places go on to the next in line at once
return finish(answers)

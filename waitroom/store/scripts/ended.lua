-- ended: put in front of every script; the list of the sessions that ended early, which every process keeps.
--
-- The list is kept twice: by session, which scripts ask for, and in the order in which sessions ended, so that a
-- process reads what was added since it last read. "id pass_ends" is scored by what room.ended_version was then.
--
-- How many there may be is a matter of each process's memory. It follows the capacity: of those who are inside for a
-- minute with passes that hold for ten, ten times the capacity are listed. And it follows how many the rate lets in
-- within one lease, as all of them may leave at once: else one who comes and goes fills the list of a small room.

local endings = {} -- one name: a script has 200 at most

do
  local ENDED_PER_SLOT = 50 -- a slot that is used, and released, so often within one lease
  local FEWEST_ENDED = 1000
  local MOST_BY_RATE = 200000 -- some 150 bytes each in every process, 200 in the store; see waitroom/check/settings.py
  local READ_AT_ONCE = 1000 -- no call holds the store up for long; who reads comes back for the rest at once

  -- Of fixed width, so that it is found, and compared, as text.
  local function written(time)
    return string.format('%016.0f', time)
  end

  local function ends_at(entry)
    return string.sub(entry, -16)
  end

  local function note_ending(id, pass_ends)
    room.ended_version = room.ended_version + 1
    room.ended_noted = room.ended_version
    redis.call('ZADD', ENDINGS, text(room.ended_version), id .. ' ' .. written(pass_ends))
  end

  -- The scripts of an earlier version list without an order; and of two keys a store that is short of memory may have
  -- thrown one away. What is listed is new to everybody then.
  function endings.mend()
    local latest = redis.call('ZRANGE', ENDINGS, -1, -1, 'WITHSCORES')[2]
    if room.ended_noted == room.ended_version and tonumber(latest or 0) <= room.ended_version then
      return
    end
    room.ended_noted = room.ended_version
    redis.call('ZREMRANGEBYSCORE', ENDINGS, '-inf', '+inf')
    local listed = redis.call('ZRANGE', ENDED, 0, -1, 'WITHSCORES')
    for i = 1, #listed, 2 do
      note_ending(listed[i], tonumber(listed[i + 1]))
    end
  end

  -- Those whose passes have run out, up to the first whose pass has not: whoever ended a lease ago is not among them.
  function endings.forget()
    local first = redis.call('ZRANGE', ENDINGS, 0, 0)[1]
    local is_over = written(now)
    if not first or ends_at(first) > is_over then
      return
    end
    local count = 0
    for _, entry in ipairs(redis.call('ZRANGE', ENDINGS, 0, CHUNK - 1)) do
      if ends_at(entry) > is_over then break end
      count = count + 1
    end
    redis.call('ZREMRANGEBYRANK', ENDINGS, 0, count - 1)
  end

  -- The list stays short enough for every process to keep: a slot that is freed without it being listed would be taken
  -- by somebody else while copies of the pass still open the site.
  function endings.are_full()
    local leave_at_most = rules.capacity + rules.window_size * (1 + rules.lease_us / rules.interval_us)
    local most = math.max(FEWEST_ENDED, ENDED_PER_SLOT * rules.capacity, math.min(MOST_BY_RATE, leave_at_most))
    return redis.call('ZCARD', ENDINGS) >= most
  end

  function endings.add(id, pass_ends)
    redis.call('ZADD', ENDED, text(pass_ends), id)
    note_ending(id, pass_ends)
  end

  -- What was listed after `version`, as {up to which version, id, until when, …}.
  function endings.read(version)
    local found = redis.call('ZRANGEBYSCORE', ENDINGS, after(version), '+inf', 'LIMIT', 0, READ_AT_ONCE)
    local is_all = #found < READ_AT_ONCE
    local answer = {is_all and room.ended_version or tonumber(redis.call('ZSCORE', ENDINGS, found[#found]))}
    local is_over = written(now)
    for _, entry in ipairs(found) do
      if ends_at(entry) > is_over then
        answer[#answer + 1] = string.sub(entry, 1, -18)
        answer[#answer + 1] = ends_at(entry)
      end
    end
    return answer
  end
end

-- pace: put in front of every script, before slide; measures how many numbers a minute the line moves on by.
--
-- A number is done with once it was called, unless its visitor is still to come or to find a place. Calls alone are no
-- measure: where many come late, or for a while nobody does, they are called in bursts, and then all have to be let in
-- before anybody else. Of these the backlog is those who have to be let in before whoever comes as soon as called, which
-- tabs that ask once a minute are not; it comes on top of those in front.
--
-- The register is "told slowed_at done_at hushed_from hushed_at is_filled front marks": the rate that is told, in numbers
-- a minute ("-" not known yet, 0 the line stands still), when it last fell, when a number was last done with, since when
-- nobody came when that was last plain, and until when, whether the site has been full since the line began, how many
-- were called and are not of the backlog, and the marks, "done:when" with commas between: how many were done with by
-- then. The last mark is how it is now; it never goes back, nor does the front.
--
-- The rate that is told stays as it is until the measured one is another for certain, so that a wait that was told
-- does not climb and fall with chance.

local SHORT_US = 60000000 -- what happened in this time tells of a change
local LONG_US = 300000000 -- and in this time, at most, what the rate is
local LEAST_US = 10000000
local SLOWER_US = 120000000 -- for this long it is said that the line has become slower
local QUIET_US = 30000000
local HUSHED_US = 15000000 -- after a silence it takes those who were called in it so long to come
local ENOUGH = 25 -- calls that make a rate: by chance alone they are a fifth more or fewer
local MANY = 2 -- in half a minute's steps those who look rarely are so many that whoever waits is taken for one of them
local FILLED = 0.9 -- of the capacity; before, the places that are free only once are filled
local SUDDEN = {share = 0.3, times = 3} -- what the short measure has to be off by at least, to tell of a change
local CREEPING = {share = 0.15, times = 2} -- and the long one

-- Windows longer than usual need longer measures: everybody may be called at their beginning.
local function span_of(usual, intervals)
  return math.max(usual, intervals * rules.interval_us)
end

-- Those called lately, as whoever looks often has come by then; and all who were called while nobody came, as they may
-- come when the silence is over.
local function count_fresh(pace)
  local fresh = room.counts[1] + room.counts[2] + room.counts[3]
  if pace and now < pace.hushed_at + HUSHED_US then
    return math.max(fresh, redis.call('ZCOUNT', PROMISED, text(pace.hushed_from), '+inf'))
  end
  return fresh
end

-- How many numbers are done with, and how many are called and not of the backlog. Each who stands somewhere between the
-- call and a place counts for some who never came. Those who look once a minute are no backlog for who looks often;
-- the more they are, the more of those who wait are like them, and come in among them.
local function count_done(pace)
  local share, fresh = share_that_comes(), count_fresh(pace)
  local standing = math.max(room.came.standing, redis.call('ZCARD', DOOR))
  local undone = standing / share + math.max(fresh, room.expected / share)
  local backlog = count_here() / share + fresh
  local slow = math.max(0, undone - backlog)
  local rate = pace and pace.told or 0
  backlog = backlog + slow * (rate > 0 and math.min(1, MANY * slow / rate) or 1)
  return math.max(0, math.floor(room.tally - undone)), math.max(0, math.floor(room.tally - backlog))
end

-- It is measured from the next step on, which is when the first mark gets its time.
local function begin_marks(done)
  return {{done = done, at = 0}}
end

local function begin_pace(done, front)
  return {slowed_at = 0, done_at = now, hushed_from = 0, hushed_at = 0, is_filled = false, front = front, done = done,
    marks = begin_marks(done)}
end

local function read_pace()
  local told, slowed_at, done_at, hushed_from, hushed_at, is_filled, front, marks =
    string.match(kept.pace or '', '^(%S+) (%d+) (%d+) (%d+) (%d+) (%d) (%d+) (%S+)$')
  if not told then
    return nil
  end
  local pace = {told = tonumber(told), slowed_at = tonumber(slowed_at), done_at = tonumber(done_at),
    hushed_from = tonumber(hushed_from), hushed_at = tonumber(hushed_at), is_filled = is_filled == '1',
    front = tonumber(front), marks = {}}
  for done, at in string.gmatch(marks, '(%d+):(%d+)') do
    pace.marks[#pace.marks + 1] = {done = tonumber(done), at = tonumber(at)}
  end
  pace.done = table.remove(pace.marks).done
  return pace
end

local function write_pace(pace)
  local marks = {}
  for i, mark in ipairs(pace.marks) do
    marks[i] = text(mark.done) .. ':' .. text(mark.at)
  end
  marks[#marks + 1] = text(pace.done) .. ':' .. text(pace.done_at)
  return string.format('%s %.0f %.0f %.0f %.0f %d %.0f %s', pace.told and string.format('%.1f', pace.told) or '-',
    pace.slowed_at, pace.done_at, pace.hushed_from, pace.hushed_at, pace.is_filled and 1 or 0, pace.front,
    table.concat(marks, ','))
end

-- Measured from step to step: a mark in the midst of a window in which nobody enters would count half of it.
local function note_done(pace, done)
  local marks = pace.marks
  if marks[1].at == 0 then
    marks[1] = {done = done, at = now}
  end
  pace.done, pace.done_at = done, now
  if now - marks[#marks].at >= span_of(SHORT_US, 3) / 2 then
    marks[#marks + 1] = {done = done, at = now}
    while marks[2] and now - marks[2].at >= span_of(LONG_US, 10) do
      table.remove(marks, 1)
    end
  end
end

-- How many were done with since a mark, and in what time; a window that has none yet is not over.
local function since(pace, mark)
  if mark.at == 0 then
    return 0, 0
  end
  return pace.done - mark.done, math.max(0, math.max(pace.done_at, now - rules.interval_us) - mark.at)
end

local function rate_of(count, span_us)
  return math.max(0.1, math.floor(count / span_us * 600000000 + 0.5) / 10)
end

local function newest_mark(pace)
  for i = #pace.marks, 2, -1 do
    local _, span = since(pace, pace.marks[i])
    if span >= span_of(SHORT_US, 3) then
      return i
    end
  end
  return 1
end

-- Chance alone makes the square root of what is expected, more or fewer; three times that is hardly ever, twice
-- seldom enough where the longer measure is the better one in any case.
local function differs(pace, count, span, by)
  local expected = pace.told * span / 60000000
  return span >= span_of(LEAST_US, 1) and count > 0
    and math.abs(count - expected) > math.max(by.share * expected, by.times * math.sqrt(expected))
end

local function stands_still(pace)
  local quiet = now - math.max(pace.done_at, room.came.entered_at) - rules.interval_us
  return quiet >= LONG_US or (quiet >= QUIET_US and pace.told * quiet / 60000000 >= ENOUGH)
end

local function tell(pace, rate)
  if pace.told and rate < pace.told then
    pace.slowed_at = now
  end
  pace.told = rate
end

-- The first filling of an empty site is not the pace at which places come free later.
local function is_filling(count, span)
  local places = FILLED * rules.capacity - room.inside
  return places / count * span < span_of(SHORT_US, 3)
end

local function is_known(pace, count, span)
  if count == 0 or span < span_of(LEAST_US, 1) then
    return false
  end
  return (pace.is_filled and count >= ENOUGH)
    or (span >= span_of(2 * LEAST_US, 2) and not pace.is_filled and not is_filling(count, span))
    or span >= span_of(SHORT_US, 3)
end

local function follow(pace)
  local count, span = since(pace, pace.marks[1])
  if not pace.told then
    if is_known(pace, count, span) then
      tell(pace, rate_of(count, span))
    end
    return
  end
  if pace.told == 0 then
    return -- until the line moves again
  end
  if stands_still(pace) then
    tell(pace, 0)
    return
  end
  local newest = newest_mark(pace)
  local recent, recent_span = since(pace, pace.marks[newest])
  if differs(pace, recent, recent_span, SUDDEN) then
    for _ = 2, newest do
      table.remove(pace.marks, 1) -- of the time before the change
    end
    tell(pace, rate_of(recent, recent_span))
  elseif differs(pace, count, span, CREEPING) then
    tell(pace, rate_of(count, span))
  end
end

local function measure(pace, called_now)
  if is_silent() then
    pace.hushed_from, pace.hushed_at = room.came.silent_since, now
  end
  local done, front = count_done(pace)
  pace.front = math.max(pace.front, front)
  local moves = room.came.entered_at > pace.done_at or (called_now > 0 and now > pace.hushed_at)
  if moves and pace.told == 0 then
    pace = begin_pace(pace.done, pace.front)
  end
  if done > pace.done and moves then
    note_done(pace, done)
  elseif done > pace.done then
    pace.done = done -- somebody has given up
  end
  if not pace.is_filled and room.inside >= FILLED * rules.capacity then
    pace.is_filled = true
    pace.marks = begin_marks(pace.done)
  end
  follow(pace)
  return pace
end

-- Over a time without a line it would mean nothing.
local function keep_pace(called_now)
  if count_waiting() == 0 then
    return
  end
  room.pace = kept.pace
  local pace = read_pace()
  if room.outstanding then -- else they were counted a moment ago
    pace = measure(pace or begin_pace(count_done()), called_now)
    room.pace = write_pace(pace)
  end
  if pace then
    room.per_minute = pace.told
    room.is_slower = now < pace.slowed_at + SLOWER_US
    room.backlog = math.max(0, room.tally - pace.front)
  end
end

-- pace: put in front of every script, before slide; measures how many are called per minute while a line stands.
--
-- The register is "told slowed_at called_at is_filled marks": the rate that is told, in calls a minute ("-" not known
-- yet, 0 the line stands still), when it last fell, when somebody was last called, whether the site has been full
-- since the line began, and the marks, "tally:when" with commas between: how many had been called by then.
--
-- The rate that is told stays as it is until the measured one is another for certain, so that a wait that was told
-- does not climb and fall with chance.

local SHORT_US = 60000000 -- what happened in this time tells of a change
local LONG_US = 300000000 -- and in this time, at most, what the rate is
local LEAST_US = 10000000
local SLOWER_US = 120000000 -- for this long it is said that the line has become slower
local QUIET_US = 30000000
local ENOUGH = 25 -- calls that make a rate: by chance alone they are a fifth more or fewer
local FILLED = 0.9 -- of the capacity; before, the places that are free only once are filled
local SUDDEN = {share = 0.3, times = 3} -- what the short measure has to be off by at least, to tell of a change
local CREEPING = {share = 0.15, times = 2} -- and the long one

-- Windows longer than usual need longer measures: everybody may be called at their beginning.
local function span_of(usual, intervals)
  return math.max(usual, intervals * rules.interval_us)
end

local function begin_pace()
  return {slowed_at = 0, called_at = now, is_filled = false, marks = {{tally = room.tally, at = now}}}
end

local function read_pace()
  local told, slowed_at, called_at, is_filled, marks =
    string.match(kept.pace or '', '^(%S+) (%d+) (%d+) (%d) (%S+)$')
  if not told then
    return begin_pace()
  end
  local pace = {told = tonumber(told), slowed_at = tonumber(slowed_at), called_at = tonumber(called_at),
    is_filled = is_filled == '1', marks = {}}
  for tally, at in string.gmatch(marks, '(%d+):(%d+)') do
    pace.marks[#pace.marks + 1] = {tally = tonumber(tally), at = tonumber(at)}
  end
  return pace
end

local function write_pace(pace)
  local marks = {}
  for i, mark in ipairs(pace.marks) do
    marks[i] = text(mark.tally) .. ':' .. text(mark.at)
  end
  return string.format('%s %s %s %d %s', pace.told and string.format('%.1f', pace.told) or '-', text(pace.slowed_at),
    text(pace.called_at), pace.is_filled and 1 or 0, table.concat(marks, ','))
end

-- Measured from call to call: a mark in the midst of a window without calls would count half of it.
local function note_calls(pace)
  local marks = pace.marks
  pace.called_at = now
  if now - marks[#marks].at >= span_of(SHORT_US, 3) / 2 then
    marks[#marks + 1] = {tally = room.tally, at = now}
    while marks[2] and now - marks[2].at >= span_of(LONG_US, 10) do
      table.remove(marks, 1)
    end
  end
end

-- How many were called since a mark, and in what time; a window that has no calls yet is not over.
local function since(pace, mark)
  return room.tally - mark.tally, math.max(0, math.max(pace.called_at, now - rules.interval_us) - mark.at)
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
  local quiet = now - pace.called_at - rules.interval_us
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
    return -- until somebody is called again
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

-- Over a time without a line it would mean nothing.
local function keep_pace(called_now)
  if count_waiting() == 0 then
    return
  end
  local pace = read_pace()
  if called_now > 0 then
    if pace.told == 0 then
      pace = begin_pace()
    end
    note_calls(pace)
  end
  if not pace.is_filled and room.inside >= FILLED * rules.capacity then
    pace.is_filled = true
    pace.marks = {{tally = room.tally, at = now}}
  end
  follow(pace)
  room.per_minute = pace.told
  room.is_slower = now < pace.slowed_at + SLOWER_US
  room.pace = write_pace(pace)
end

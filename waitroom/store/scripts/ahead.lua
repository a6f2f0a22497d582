-- ahead: put in front of every script, before slide; learns how many of those called come and how soon, and tells how
-- many have to be called so that no place stays empty.
--
-- Kept in the register `shows`: when it was brought up to date, how many left the site early in how much time, and
-- for each span of time since the call how many came in it of how much time that those called spent in it.
-- From that follows how likely it is that somebody who was called so long ago comes within the next seconds. Who was
-- called just now and cannot have come yet counts for nothing, who has not come for long counts as a no-show.
-- All of it fades, so that it follows the crowd; where it is lost it begins again with everybody coming soon.
--
-- All of that takes each no-show for one of its own. A cause that they share, such as a network that is down for some
-- seconds, looks as if nobody came any more, and would call the whole line. So what is outstanding has a bound of its
-- own: of those called within RECENT_US who are not in, no more than BELIEVED for each who came lately and TWICE the
-- slots there are. Where really nobody is left to come it grows, so that the line goes on.
--
-- Kept in the register `came`: when it was brought up to date, how many of those called came, faded, since when
-- nobody has come though somebody was called, for how much of that time somebody was who had been called just then,
-- how many stand somewhere between the call and a place, as they came, found none, and will ask again some time, when
-- the last of those called got a place, and how many were called and how many of them came within the last minutes.

local AGES = {0, 1000000, 2000000, 6000000, 20000000, 40000000} -- where spans begin
local OLDEST = 90000000 -- nobody is thought to come later
local AHEAD = {1000000, 4000000} -- so far it is looked ahead
local MEMORY = 50 -- people whom each span remembers
local LEAVING_US = 30000000 -- for so long those who leave are remembered
local STEP_US, LONGEST_STEP_US = 100000, 1000000 -- how often it is brought up to date, and what one gap counts at most
local CAUTION = 0.75 -- in standard deviations of what comes free: so many fewer are called, as few should stand at the door
local SLOWEST = 0.1 -- the share that comes is never believed to be less

local RECENT_SPANS = 4 -- of AGES: who was called in them and is not in is outstanding
local BELIEVED = 10 -- calls for each who came within LATELY_US
local LATELY_US, FADES_US = 10000000, 3000000 -- counted as one that fades, which needs no list
local LEARNS_US = 3000000 -- whoever is called and looks as told has come by then
local MISSED = 5 -- so many who should have come by now and have not: hardly ever by chance
local TWICE = 2 -- calls for each slot that is free or comes free, whoever came
local RARELY_US = 60000000 -- so often somebody asks at the door whose tab is in the background
local REMEMBERS_US = 300000000 -- for about so long it is known how many of those called came
local STANDS_US = 2 * RARELY_US -- for so long it is thought that who found no place asks again
local DOUBLES_US, MOST_DOUBLINGS = 20000000, 4 -- the bound doubles each time that nobody has come for so long

local spans = #AGES
local FORMAT = '%.0f %.3f %.0f' .. string.rep(' %.3f %.0f', spans)

local function span_end(span)
  return AGES[span + 1] or OLDEST
end

local function read_shows(written)
  local shows = {}
  for number in string.gmatch(written or '', '%S+') do
    shows[#shows + 1] = tonumber(number)
  end
  if #shows ~= 3 + 2 * spans then
    shows = {0, 0, LEAVING_US}
    for span = 1, spans do -- as if two had come in each, half of it after its beginning
      shows[2 + 2 * span], shows[3 + 2 * span] = 2, span_end(span) - AGES[span]
    end
  end
  room.shows = shows
end

function write_shows()
  return room.learned and string.format(FORMAT, unpack(room.shows)) or kept.shows
end

local function read_came(written)
  local at, count, silent_since, missed, standing, entered_at, called, shown =
    string.match(written or '', '^(%d+) (%S+) (%d+) (%d+) (%S+) (%d+) (%S+) (%S+)$')
  room.came = {
    at = tonumber(at) or reached, count = tonumber(count) or 0,
    silent_since = tonumber(silent_since) or reached, missed_us = tonumber(missed) or 0,
    standing = tonumber(standing) or 0, entered_at = tonumber(entered_at) or 0,
    called = tonumber(called) or 0, shown = tonumber(shown) or 0,
  }
end

function write_came()
  local came = room.came
  return room.learned
    and string.format('%.0f %.3f %.0f %.0f %.3f %.0f %.3f %.3f', came.at, came.count, came.silent_since, came.missed_us,
      came.standing, came.entered_at, came.called, came.shown)
    or kept.came
end

-- How likely it is to come is added up by age: who is at one age comes by another with 1 - exp(-(sum there - sum here)).
local function add_up()
  local sums, sum = {}, 0
  for span = 1, spans do
    sums[span] = sum
    sum = sum + room.shows[2 + 2 * span] / room.shows[3 + 2 * span] * (span_end(span) - AGES[span])
  end
  sums[spans + 1] = sum
  room.sums = sums
end

local function sum_at(age)
  local span = spans
  while span > 1 and AGES[span] > age do
    span = span - 1
  end
  local done = math.min(1, (age - AGES[span]) / (span_end(span) - AGES[span]))
  return room.sums[span] + done * (room.sums[span + 1] - room.sums[span])
end

-- The likelihood that somebody called `age` ago comes within `ahead`; without that: comes at all.
local function will_come(age, ahead)
  local by = ahead and sum_at(age + ahead) or room.sums[spans + 1]
  return 1 - math.exp(sum_at(age) - by)
end

-- How many were called and have not come, by span.
local function count_called()
  redis.call('ZREMRANGEBYSCORE', PROMISED, '-inf', reached - rules.claim_us)
  local left = redis.call('ZCARD', PROMISED)
  local counts = {}
  for span = 1, spans do
    counts[span] = 0
    if left > 0 then
      local older = span < spans and redis.call('ZCOUNT', PROMISED, '-inf', text(reached - AGES[span + 1])) or 0
      counts[span], left = left - older, older
    end
  end
  room.counts = counts
  room.outstanding = 0
  for span = 1, RECENT_SPANS do
    room.outstanding = room.outstanding + counts[span]
  end
end

local function fade(index, share)
  room.shows[index] = room.shows[index] * share
end

local function is_step_due()
  local passed = reached - room.shows[1]
  return passed < 0 or passed >= STEP_US
end

local function keep_came()
  local came = room.came
  local passed = math.max(0, reached - came.at)
  came.count = came.count * math.exp(-passed / FADES_US)
  came.standing = came.standing * math.exp(-passed / STANDS_US) -- some of them give up without a word
  came.at = reached
  local remembered = math.exp(-passed / REMEMBERS_US)
  came.called, came.shown = came.called * remembered, came.shown * remembered
  if room.counts[1] + room.counts[2] > 0 then
    came.missed_us = came.missed_us + passed
  end
  if redis.call('ZCARD', PROMISED) == 0 then
    came.silent_since = reached
  end
end

-- Time has passed for those who were called, and for those inside.
local function keep_shows()
  if not is_step_due() then
    return
  end
  local passed = math.min(math.max(0, reached - room.shows[1]), LONGEST_STEP_US)
  room.learned = true
  keep_came()
  room.shows[1] = reached
  local remembered = math.exp(-passed / LEAVING_US)
  fade(2, remembered)
  fade(3, remembered)
  room.shows[3] = room.shows[3] + passed
  for span = 1, spans do
    local spent = room.counts[span] * passed
    if spent > 0 then
      local remembers = math.max(0, 1 - spent / MEMORY / (span_end(span) - AGES[span]))
      fade(2 + 2 * span, remembers)
      fade(3 + 2 * span, remembers)
      room.shows[3 + 2 * span] = room.shows[3 + 2 * span] + spent
    end
  end
end

-- Somebody who was called at that time has come.
local function note_show(called_at)
  local age = reached - called_at
  local span = spans
  while span > 1 and AGES[span] > age do
    span = span - 1
  end
  room.learned = true
  room.shows[2 + 2 * span] = room.shows[2 + 2 * span] + 1
  room.expected = math.max(0, room.expected - will_come(age))
  room.came.count = room.came.count + 1
  room.came.standing = room.came.standing + 1
  room.came.shown = room.came.shown + 1
  room.came.silent_since, room.came.missed_us = reached, 0
end

local function note_calls(count)
  room.learned = true
  room.expected = room.expected + count * will_come(0)
  room.outstanding = room.outstanding + count
  room.came.called = room.came.called + count
end

-- Somebody who was called has a place.
local function note_entry()
  room.learned = true
  room.came.standing, room.came.entered_at = math.max(0, room.came.standing - 1), now
end

local function note_leaving()
  room.learned = true
  room.shows[2] = room.shows[2] + 1
end

local function middle(span)
  return (AGES[span] + span_end(span)) / 2
end

-- How many of those called are still to come, within `ahead` or at all.
local function count_expected(ahead)
  local expected = 0
  for span, count in ipairs(room.counts) do
    if count > 0 then
      expected = expected + count * will_come(middle(span), ahead)
    end
  end
  return expected
end

-- How many more places there will be: sessions end, and entries leave the interval.
local function count_coming_free(ahead)
  local over = redis.call('ZCOUNT', INSIDE, '-inf', text(now + ahead))
  local leaving = room.shows[2] / room.shows[3] * ahead
  local of_capacity = rules.capacity - room.inside + over + leaving
  local left = redis.call('ZCOUNT', ENTRIES, after(now + ahead - rules.interval_us), '+inf')
  local of_rate = rules.window_size - room.entered + room.entries - left
  return math.max(0, math.min(of_capacity, of_rate) - room.places)
end

-- Who stands at the door and still asks as often as told.
local function count_here()
  return redis.call('ZCOUNT', ASKED, after(reached - HERE_US), '+inf')
end

-- Whether it is plain that nobody comes any more.
local function is_silent()
  local silent_us = math.max(0, reached - room.came.silent_since)
  local before = room.came.count * math.exp(math.min(silent_us / FADES_US, 20)) -- when somebody came last
  local missed_us = room.came.missed_us
  return missed_us >= LEARNS_US and before * missed_us >= MISSED * FADES_US
end

local function count_came()
  return is_silent() and 0 or room.came.count * LATELY_US / FADES_US
end

-- The share of those called that comes, in the long run; who was called lately may still.
local function share_that_comes()
  local shown = room.came.shown + MISSED
  return math.max(SLOWEST, math.min(1, shown / math.max(1, room.came.called + MISSED - room.outstanding)))
end

-- How many more may be outstanding.
local function count_allowed()
  local slots = math.max(0, room.places) + count_coming_free(AHEAD[#AHEAD])
  local silent_us = math.max(0, reached - room.came.silent_since)
  local doublings = math.min(math.floor(silent_us / DOUBLES_US), MOST_DOUBLINGS)
  local bound = (BELIEVED * count_came() + TWICE * slots) * 2 ^ doublings
  return math.max(0, math.floor(bound) - room.outstanding)
end

-- How many to call now: so many that at no time ahead more of them are expected than there will be places.
local function count_to_call()
  local waiting = room.is_settling and 0 or count_waiting()
  if waiting == 0 then
    return 0
  end
  local here = count_here()
  local elsewhere = math.max(0, room.came.standing - here)
  local count
  for _, ahead in ipairs(AHEAD) do
    local coming = count_coming_free(ahead)
    local missing = room.places + coming - CAUTION * math.sqrt(coming) - here - count_expected(ahead)
      - elsewhere * ahead / RARELY_US
    local called = missing / math.max(SLOWEST, will_come(0, ahead))
    count = math.min(count or called, called)
  end
  return math.min(math.max(0, room.free, math.floor(count + 0.25)), waiting, count_allowed())
end

-- Where there is no place now it is enough to look ahead ten times a second: many calls come between.
local function is_time_to_count()
  add_up()
  room.expected = 0
  return room.places > redis.call('ZCARD', DOOR) or is_step_due()
end

local function count_expected_now()
  count_called()
  keep_shows()
  add_up()
  room.expected = count_expected()
end

read_shows(kept.shows)
read_came(kept.came)

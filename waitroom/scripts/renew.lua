-- renew: a session in use keeps its lease; one whose cookie came back has its first lease made full.
--
-- items   [id, entered at, whether the cookie came back] of a session
-- answer  view, and for each when the pass ends now; 0: there is no such session any more

slide()

local function renew(id, entered_at, confirms)
  if confirms then
    redis.call('ZREM', FIRST, id)
  end
  local is_first = not confirms and redis.call('ZSCORE', FIRST, id)
  local ends = pass_end(entered_at, is_first and rules.first_lease_us or rules.lease_us)
  if ends <= now or not redis.call('ZSCORE', INSIDE, id) then
    return 0
  end
  redis.call('ZADD', INSIDE, 'GT', ends + GRACE_US, id)
  return text(ends)
end

local answers = {}
for i, session in ipairs(items) do
  answers[i] = renew(unpack(session))
end
return {view(), answers}

-- Sends one request for each line of a file, in turn, on and on.
-- Arguments: method, file of Cookie headers, seconds between two requests of one connection (0: none), connections.
-- An empty line is a request without cookies; {n} in a line becomes a number that is never the same.

local requests, turn, sent = {}, 0, 0

function init(args)
  local method, file, pause, connections = args[1], args[2], tonumber(args[3]), tonumber(args[4])
  for line in io.lines(file) do
    local headers = {}
    for name, value in pairs(wrk.headers) do headers[name] = value end
    if line ~= "" then headers["Cookie"] = line end
    local text = wrk.format(method, nil, headers, method == "POST" and "" or nil)
    local at, past = text:find("{n}", 1, true)
    requests[#requests + 1] = at and { text:sub(1, at - 1), text:sub(past + 1) } or text
  end
  if pause > 0 then pace(pause * 1000, connections) end
end

function request()
  turn = turn % #requests + 1
  local one = requests[turn]
  if type(one) == "string" then return one end
  sent = sent + 1
  return one[1] .. string.format("%09d", sent) .. one[2]
end

-- The connections begin spread over one pause, and keep to it with a little chance.
function pace(pause, connections)
  local begun = 0
  math.randomseed(1)
  function delay()
    begun = begun + 1
    if begun <= connections then return math.random(0, pause) end
    return math.random(math.floor(pause * 0.9), math.ceil(pause * 1.1))
  end
end

function done(summary, latency, _)
  local failed = summary.errors
  print(string.format(
    "result requests=%d bytes=%d microseconds=%d refused=%d broken=%d p50=%d p99=%d",
    summary.requests, summary.bytes, summary.duration, failed.status,
    failed.connect + failed.read + failed.write + failed.timeout,
    latency:percentile(50), latency:percentile(99)))
end

-- wrk -s kinto.lua URL -- USERS THREADS get|put ITEMS
-- Each request GETs all records of one user, or PUTs one of them; USERS: on each line a name and its credentials.
local wire = require("wire")

setup = wire.number

function init(args)
  users = {}
  for at, line in ipairs(wire.tokens(args[1], number, tonumber(args[2]))) do
    local name, credentials = line:match("^(%S+) (%S+)$")
    users[at] = { path = wrk.path .. "/collections/" .. name .. "/records", credentials = "Basic " .. credentials }
  end
  puts, items = args[3] == "put", tonumber(args[4])
  milliseconds = 0
  math.randomseed(1 + number)
end

function request()
  local user = users[math.random(#users)]
  local headers = { ["Authorization"] = user.credentials }
  if not puts then
    return wrk.format("GET", user.path, headers)
  end
  milliseconds = milliseconds + 1
  local seconds = math.floor(milliseconds / 1000)
  local date = string.format(
    "2020-01-02T%02d:%02d:%02d.%03dZ", math.floor(seconds / 3600), math.floor(seconds / 60) % 60, seconds % 60,
    milliseconds % 1000)
  headers["Content-Type"] = "application/json"
  local path = string.format("%s/session_%d", user.path, math.random(0, items - 1))
  return wrk.format("PUT", path, headers, string.format('{"data":{"actionDate":"%s","action":"ADD"}}', date))
end

done = wire.tell

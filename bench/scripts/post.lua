-- wrk -s post.lua URL -- TOKENS THREADS RECORDS ITEMS DAY
-- Each request POSTs so many RECORDS of one user, of the ITEMS that each has; each is newer than all that came before,
-- as long as DAY is. No two threads write for one user.
local wire = require("wire")

setup = wire.number

function init(args)
  tokens = wire.tokens(args[1], number, tonumber(args[2]))
  records, items, day = tonumber(args[3]), tonumber(args[4]), args[5]
  milliseconds = 0
  math.randomseed(1 + number)
end

function request()
  milliseconds = milliseconds + 1
  local seconds = math.floor(milliseconds / 1000)
  local date = string.format(
    "%sT%02d:%02d:%02d.%03dZ", day, math.floor(seconds / 3600), math.floor(seconds / 60) % 60, seconds % 60,
    milliseconds % 1000)
  local first, written = math.random(0, items - 1), {}
  for n = 1, records do
    written[n] = string.format(
      '{"item":"session_%d","actionDate":"%s","action":"%s"}', (first + n) % items, date,
      n % 10 == 0 and "DELETE" or "ADD")
  end
  local headers = {
    ["Content-Type"] = "application/json",
    ["Authorization"] = "Bearer " .. tokens[math.random(#tokens)],
  }
  return wrk.format("POST", nil, headers, "[" .. table.concat(written, ",") .. "]")
end

done = wire.tell

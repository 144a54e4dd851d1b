-- Both calls in Lua: cjson for JSON, expat for XML.
local cjson = require "cjson.safe"
local lxp = require "lxp"

local function refuse(status)
    ngx.status = status
    return ngx.exit(status)
end

local provider, id = ngx.var.uri:match("^/tasks/([^/]+)/([^/:]+):stop$")
if not provider then return refuse(404) end

local reply
if provider == "cfw" then
    ngx.req.read_body()
    local call = cjson.decode(ngx.req.get_body_data() or "")
    local instance = type(call) == "table" and type(call.scope) == "table" and call.scope.instance
    if type(instance) ~= "string" or #instance > 128 or not instance:match("^[%w_-]+$") then return refuse(400) end
    reply = ngx.location.capture("/v1/09bb24e6fe80d23d2fa2c010b53b418c/capture-task/stop", {
        method = ngx.HTTP_POST,
        args = "fw_instance_id=" .. instance,
        body = cjson.encode({ task_id = id }),
    })
elseif provider == "prime" and id:match("^%d+$") then
    ngx.req.read_body()
    reply = ngx.location.capture("/webacs/api/v3/op/jobService/cancelrunning", {
        method = ngx.HTTP_PUT,
        body = "<jobRunOperationPayload><runIds><runId>" .. id .. "</runId></runIds></jobRunOperationPayload>",
    })
else
    return refuse(404)
end
if reply.status ~= 200 then return refuse(502) end

local message = cjson.null
if provider == "cfw" then
    local document = cjson.decode(reply.body)
    if not document or not document.data then return refuse(502) end
else
    local path, texts = {}, {}
    local parser = lxp.new({
        StartElement = function(_, name) path[#path + 1] = name end,
        EndElement = function() path[#path] = nil end,
        CharacterData = function(_, text)
            local key = table.concat(path, "/")
            texts[key] = (texts[key] or "") .. text
        end,
    })
    if not parser:parse(reply.body) or not parser:parse() then return refuse(502) end
    parser:close()
    local listed = "mgmtResponse/operationResult/success/success/"
    if texts[listed .. "id"] ~= id then return refuse(502) end
    message = texts[listed .. "message"] or cjson.null
end

-- It writes `\/` for a slash, which means the same.
local answer = cjson.encode({
    task = "tasks/" .. provider .. "/" .. id,
    provider = provider,
    id = id,
    action = "stop",
    outcome = "accepted",
    state = "stopping",
    name = cjson.null,
    message = message,
    created_at = cjson.null,
    updated_at = cjson.null,
    operation = cjson.null,
    vendor = { status = reply.status, request_id = reply.header["X-Request-Id"] or cjson.null },
})
ngx.status = 202
ngx.header["Content-Type"] = "application/json"
ngx.header["Content-Length"] = #answer
ngx.print(answer)

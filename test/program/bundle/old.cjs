/** As packages of old are, which change Node's modules for all. */
const http = require("http");
const http2 = require("http2");

http.assigned = "http";
http2.assigned = "http2";

module.exports = { Agent: http.Agent, place: require.resolve("fs") };

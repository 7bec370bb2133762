// Prints which signatures Twilio's own validator for Node accepts, as a table in JSON: for URLs of webhooks with each kind
// of character in their query, raw and escaped, the URLs that a sender may have signed, and whether that is accepted.
import querystring from "node:querystring";
import twilio from "twilio";

const token = "12345";
const params = { From: "+14017122661", Body: "it's" };
const kinds = ["@", ":", "'", '"', "<", ">", "(", ")", "!", "*", "~", "/", "?", ",", ";", "$", "[", "]", "{", "}", "|", "\\", "^", "`", "-", "_", ".", "é", "雪"];
const escaped = (c) => [...Buffer.from(c)].map((b) => "%" + b.toString(16).toUpperCase().padStart(2, "0")).join("");

const queries = ["", "?", "?a", "?a=", "?=a", "?a=b=c", "?a=1&&b=2", "?a=1&", "?&a=1", "?a=1&b=2&a=3", "?a=1&a=1", "?a+b=c+d", "?a%20b=c%20d", "?a=%2B", "?a=%zz", "?a=100%"];
for (const c of kinds) {
  for (const form of new Set([c, escaped(c), escaped(c).toLowerCase()])) {
    queries.push(`?to=x${form}y`, `?n${form}=1&z=+`, `?a=${form}&b=it's`);
  }
}
queries.push("?to=sip:ann@example.com:5060&from=%40%3a", "?url=https://ann:b@example.com/?q=1&t=12:30");

const forms = [
  (u) => u,
  (u) => new URL(u).toString(),
  (u) => legacy(u),
  (u) => legacy(new URL(u).toString()),
  (u) => u.replaceAll("%40", "@").replaceAll("%3A", ":"),
  (u) => at(u, (q) => q.replaceAll("@", "%40")),
  (u) => at(u, (q) => q.replaceAll(":", "%3A")),
  (u) => at(u, (q) => new URLSearchParams(q).toString()),
  (u) => at(u, (q) => q.replaceAll("+", "%20")),
  (u) => at(u, (q) => q.toUpperCase()),
  (u) => at(u, (q) => q + "&a=1"),
];
const ports = [(u) => u, (u) => u.replace(/^(https?:\/\/[^/:]+)(:\d+)?/, "$1"), ...[80, 443, 8443].map((p) => (u) => u.replace(/^(https?:\/\/[^/:]+)(:\d+)?/, `$1:${p}`))];

function at(u, change) {
  const start = u.indexOf("?");
  return start < 0 ? u : u.slice(0, start + 1) + change(u.slice(start + 1));
}

function legacy(u) {
  return at(u, (q) => (q ? querystring.stringify(querystring.parse(q)) : q));
}

const rows = [];
for (const origin of ["https://mms.example.com", "https://mms.example.com:8443", "http://mms.example.com"]) {
  for (const query of queries) {
    const url = origin + "/webhooks/twilio" + query;
    for (const signed of new Set(forms.flatMap((form) => ports.map((port) => port(form(url)))))) {
      const signature = twilio.getExpectedTwilioSignature(token, signed, params);
      rows.push({ url, signed, signature, accepted: twilio.validateRequest(token, signature, url, params) });
    }
  }
}
console.log(JSON.stringify({ token, params, rows }));

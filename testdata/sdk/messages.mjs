// Twilio's own client for Node sends, reads, lists, redacts and deletes messages of a running mmspipe that relays them,
// with nothing changed but the origin. The environment names the service and a picture: ORIGIN, ACCOUNT, TOKEN,
// MEDIA_URL. The exit status is 0 if all is as it is at Twilio.
import assert from "node:assert/strict";
import { connect } from "./elsewhere.mjs";

const { ACCOUNT, TOKEN, MEDIA_URL } = process.env;
const { messages } = connect(ACCOUNT, TOKEN);
const refused = (call, status, code) => assert.rejects(call, (e) => e.status === status && e.code === code);
const parties = { from: "+15005550006", to: "+15558675310" };

const sent = [];
for (const body of ["one", "two", "three"]) {
  sent.push(await messages.create({ ...parties, body, mediaUrl: [MEDIA_URL] }));
}
for (const m of sent) {
  assert.match(m.sid, /^MM[0-9a-f]{32}$/);
  assert.equal(m.direction, "outbound-api");
  assert.equal(m.numMedia, "1");
  assert.equal(m.errorCode, null);
  assert.ok(m.dateCreated instanceof Date);
}

// It is delivered, and its medium is there then.
let last = await messages(sent[0].sid).fetch();
for (let tries = 0; last.status !== "delivered" && tries < 600; tries++) {
  await new Promise((again) => setTimeout(again, 100));
  last = await messages(sent[0].sid).fetch();
}
assert.equal(last.status, "delivered");
assert.ok(last.dateSent instanceof Date);
assert.equal((await messages(sent[0].sid).media.list()).length, 1);

const newestFirst = sent.map((m) => m.sid).reverse();
const listed = await messages.list({ ...parties, pageSize: 2 });
assert.deepEqual(listed.map((m) => m.sid), newestFirst);
assert.deepEqual((await messages.list({ limit: 2 })).map((m) => m.sid), newestFirst.slice(0, 2));
const first = await messages.page({ pageSize: 2 });
const second = await first.nextPage();
assert.deepEqual(second.instances.map((m) => m.sid), newestFirst.slice(2));
assert.deepEqual((await second.previousPage()).instances.map((m) => m.sid), newestFirst.slice(0, 2));
assert.equal((await messages.list({ to: "+15558675311" })).length, 0);
const hour = 60 * 60 * 1000;
assert.equal((await messages.list({ dateSentAfter: new Date(Date.now() - hour) })).length, 3);
assert.equal((await messages.list({ dateSentBefore: new Date(Date.now() - hour) })).length, 0);

assert.equal((await messages(sent[0].sid).update({ body: "" })).body, "");
assert.equal(await messages(sent[0].sid).remove(), true);
await refused(() => messages(sent[0].sid).fetch(), 404, 20404);
await refused(() => messages(sent[0].sid).media.list(), 404, 20404);
assert.equal((await messages.list()).length, 2);

await refused(() => messages.create({ from: parties.from, body: "to nobody", to: "" }), 400, 21604);
await refused(() => messages.create({ ...parties, mediaUrl: ["ftp://example.com/a.jpg"] }), 400, 21620);
await refused(() => messages.create({ ...parties, body: "x".repeat(1601) }), 400, 21617);

const schedule = { messagingServiceSid: "MG0123456789abcdef0123456789abcdef", scheduleType: "fixed", sendAt: new Date(Date.now() + hour) };
const planned = await messages.create({ to: parties.to, body: "later", ...schedule });
assert.equal(planned.status, "scheduled");
assert.equal((await messages(planned.sid).update({ status: "canceled" })).status, "canceled");
assert.equal((await messages(planned.sid).fetch()).status, "canceled");
await refused(() => messages(sent[1].sid).update({ status: "canceled" }), 400, 30409);
await refused(() => messages.create({ to: parties.to, body: "now", ...schedule, sendAt: new Date() }), 400, 35114);

console.log("twilio for Node: all as at Twilio");

// Twilio's own client for Node against a running mmspipe, with nothing changed but the origin. The environment names
// the service and a message with five media: ORIGIN, ACCOUNT, TOKEN, MESSAGE. The exit status is 0 if all is as it
// is at Twilio. One medium is deleted.
import assert from "node:assert/strict";
import { connect } from "./elsewhere.mjs";

const { ACCOUNT, TOKEN, MESSAGE } = process.env;
const media = connect(ACCOUNT, TOKEN).messages(MESSAGE).media;

const all = await media.list();
assert.equal(all.length, 5);
const sids = all.map((m) => m.sid);

const paged = [];
await new Promise((resolve, reject) =>
  media.each({ pageSize: 2, callback: (m) => paged.push(m.sid), done: (error) => (error ? reject(error) : resolve()) }));
assert.deepEqual(paged, sids);

const first = await media.page({ pageSize: 3 });
assert.equal(first.instances.length, 3);
const second = await first.nextPage();
assert.deepEqual(second.instances.map((m) => m.sid), sids.slice(3));
assert.deepEqual((await second.previousPage()).instances.map((m) => m.sid), sids.slice(0, 3));

assert.equal((await media.list({ limit: 2 })).length, 2);
const hour = 60 * 60 * 1000;
assert.equal((await media.list({ dateCreatedAfter: new Date(Date.now() - hour) })).length, 5);
assert.equal((await media.list({ dateCreatedBefore: new Date(Date.now() - hour) })).length, 0);
assert.equal((await media.list({ dateCreated: new Date(Date.now() - 48 * hour) })).length, 0);

const one = await media(sids[0]).fetch();
assert.equal(one.sid, sids[0]);
assert.equal(one.parentSid, MESSAGE);
assert.equal(one.accountSid, ACCOUNT);
assert.equal(one.contentType, "image/jpeg");
assert.ok(Math.abs(one.dateCreated - Date.now()) < hour);

assert.equal(await media(sids[0]).remove(), true);
const refused = (call, status, code) => assert.rejects(call, (e) => e.status === status && e.code === code);
await refused(() => media(sids[0]).fetch(), 404, 20404);
await refused(() => media(sids[0]).remove(), 404, 20404);
await refused(() => connect(ACCOUNT, "wrong").messages(MESSAGE).media.list(), 401, 20003);
assert.deepEqual((await media.list()).map((m) => m.sid), sids.slice(1));

console.log("twilio for Node: all as at Twilio");

// Twilio's own client for Node asks a running mmspipe that passes other resources through for an account, its balance and
// its phone numbers, and tells what became of a message, with nothing changed but the origin. The environment names the
// service, how many numbers there are, and a message that was sent: ORIGIN, ACCOUNT, TOKEN, NUMBERS, MESSAGE. The exit
// status is 0 if all is as it is at Twilio.
import assert from "node:assert/strict";
import { connect } from "./elsewhere.mjs";

const { ACCOUNT, TOKEN, NUMBERS, MESSAGE } = process.env;
const client = connect(ACCOUNT, TOKEN);
const refused = (call, status, code) => assert.rejects(call, (e) => e.status === status && e.code === code);

assert.equal((await client.api.v2010.accounts(ACCOUNT).fetch()).status, "active");
assert.equal((await client.balance.fetch()).currency, "USD");

const numbers = await client.incomingPhoneNumbers.list({ pageSize: 2 });
assert.equal(numbers.length, Number(NUMBERS));
const first = await client.incomingPhoneNumbers.page({ pageSize: 2 });
const second = await first.nextPage();
assert.equal(second.instances[0].phoneNumber, numbers[2].phoneNumber);
assert.equal((await client.incomingPhoneNumbers.list({ phoneNumber: numbers[1].phoneNumber })).length, 1);

const feedback = await client.messages(MESSAGE).feedback.create({ outcome: "confirmed" });
assert.equal(feedback.messageSid, MESSAGE);
assert.equal(feedback.outcome, "confirmed");

await refused(() => client.calls("CA0123456789abcdef0123456789abcdef").fetch(), 404, 20404);
await refused(() => connect(ACCOUNT, "wrong").balance.fetch(), 401, 20003);
await refused(() => client.messages("MM0123456789abcdef0123456789abcdef").fetch(), 404, 20404);

console.log("twilio for Node: all as at Twilio");

// Sends a picture and waits until it is delivered: node send.mjs FROM TO TEXT URL, with ORIGIN, ACCOUNT and TOKEN in the
// environment.
import { connect } from "./elsewhere.mjs";

const { ACCOUNT, TOKEN } = process.env;
const [from, to, body, url] = process.argv.slice(2);
const { messages } = connect(ACCOUNT, TOKEN);
let message = await messages.create({ from, to, body, mediaUrl: [url] });
for (let status = ""; ; message = await messages(message.sid).fetch()) {
  if (message.status !== status) {
    status = message.status;
    console.log(message.sid, status, message.errorCode ?? "");
  }
  if (["delivered", "undelivered", "failed"].includes(status)) break;
  await new Promise((again) => setTimeout(again, 50));
}

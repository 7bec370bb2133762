// Lists the media of a message: node list.mjs MM…, with ORIGIN, ACCOUNT and TOKEN in the environment.
import { connect } from "./elsewhere.mjs";

const { ACCOUNT, TOKEN } = process.env;
for (const media of await connect(ACCOUNT, TOKEN).messages(process.argv[2]).media.list()) {
  console.log(media.sid, media.contentType, media.dateCreated.toISOString());
}

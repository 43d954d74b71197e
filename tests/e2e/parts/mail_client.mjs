// A mail client on Node.js, by hand: node mail_client.mjs HOST PORT implicit|starttls CA LOGIN PASSWORD FROM TO
// Sends one message in each of two connections, the second with the TLS session of the first, and prints
// {"protocol", "reused": [false, true], "replies": [[…], […]]}.
import { readFileSync } from "node:fs";
import net from "node:net";
import tls from "node:tls";

const [host, port, mode, ca, login, password, from, to] = process.argv.slice(2);

// Reads whole replies off a socket, one a call.
function replies(socket) {
  let text = "";
  let wake = () => {};
  socket.on("data", (octets) => { text += octets; wake(); });
  socket.on("close", () => wake());
  return async () => {
    for (;;) {
      const reply = /^(?:\d{3}-.*\r\n)*\d{3}(?: .*)?\r\n/.exec(text);
      if (reply) {
        text = text.slice(reply[0].length);
        return reply[0];
      }
      if (socket.closed || socket.destroyed) throw new Error(`closed after ${JSON.stringify(text)}`);
      await new Promise((resolve) => { wake = resolve; });
    }
  };
}

const failed = (socket) => socket.on("error", (error) => { console.error(error); process.exit(1); });

async function send(session) {
  let socket = null;
  if (mode === "starttls") {
    socket = failed(net.connect(port, host));
    const next = replies(socket);
    await next();
    socket.write("EHLO node.test\r\n");
    await next();
    socket.write("STARTTLS\r\n");
    await next();
    socket.removeAllListeners("data");
  }
  const secure = failed(tls.connect({ socket, host, port, ca: readFileSync(ca), servername: "mx.example.com", session }));
  let ticket = null;
  secure.on("session", (newest) => { ticket = newest; });
  const next = replies(secure);
  await new Promise((resolve) => secure.once("secureConnect", resolve));
  const said = mode === "implicit" ? [await next()] : [];
  const auth = Buffer.from(`\0${login}\0${password}`).toString("base64");
  for (const line of ["EHLO node.test", `AUTH PLAIN ${auth}`, `MAIL FROM:<${from}>`, `RCPT TO:<${to}>`, "DATA",
    `From: ${from}\r\nTo: ${to}\r\nSubject: from node\r\n\r\nhello\r\n.`, "QUIT"]) {
    secure.write(`${line}\r\n`);
    said.push(await next());
  }
  secure.end();
  return { protocol: secure.getProtocol(), reused: secure.isSessionReused(), said, ticket };
}

const first = await send();
const second = await send(first.ticket);
console.log(JSON.stringify({ protocol: second.protocol, reused: [first.reused, second.reused], replies: [first.said, second.said] }));

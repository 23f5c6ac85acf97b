// ioredis in its sentinel mode: writes rising numbers for ever and says which were acknowledged.
// usage: node ioredis.js PORT,PORT,PORT    (the sentinels' ports)
const Redis = require("ioredis");

const sentinels = process.argv[2].split(",").map((port) => ({ host: "127.0.0.1", port: Number(port) }));
const primary = new Redis({ sentinels, name: "mymaster" });
primary.on("error", (error) => console.log("error", error.message));
console.log("version", require("ioredis/package.json").version);

async function write() {
  let last = 0;
  for (;;) {
    try {
      await primary.set("written-by-client", last + 1);
      last += 1;
      console.log("ok", last);
    } catch (error) {
      console.log("error", error.message);
    }
    await new Promise((again) => setTimeout(again, 10));
  }
}

write();

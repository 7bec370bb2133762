// Fits pictures with mmspipe and with sharp, taking turns, and prints what
// each takes. See bench.sh.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import path from "node:path";
import sharp from "sharp";

const [work, runnerFile, roundsText] = process.argv.slice(2);
const rounds = Number(roundsText ?? 5);
const longest = 1600;
const budgets = [600_000, 300_000];
const photos = ["picosdeeuropa", "life", "Kleiber", "Dragonfly"];
sharp.concurrency(1);
sharp.cache(false);

// prepare makes inputs of that size as a phone would: with some noise of the
// sensor, always the same, baseline and with half the resolution of colour.
async function prepare(source, file, width, height, progressive = false) {
  if (existsSync(file)) return file;
  const { data, info } = await sharp(source, { limitInputPixels: false })
    .resize(width, height, { fit: "cover" }).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  let seed = 1;
  for (let i = 0; i < data.length; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const noise = (seed >>> 28) + ((seed >>> 20) & 15) - 15; // a triangle of ±15
    data[i] = Math.max(0, Math.min(255, data[i] + Math.round(noise / 4)));
  }
  const noisy = sharp(data, { raw: info, limitInputPixels: false });
  if (file.endsWith(".png")) {
    await noisy.png().toFile(file);
    return file;
  }
  await noisy.jpeg({ quality: 92, chromaSubsampling: "4:2:0", progressive, optimiseCoding: progressive }).toFile(file);
  return file;
}

// Runner is a Go process that answers one request at a time.
class Runner {
  constructor() {
    this.process = spawn(runnerFile, { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, GOMAXPROCS: "1" } });
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }
  async ask(request) {
    this.process.stdin.write(JSON.stringify(request) + "\n");
    const answer = JSON.parse((await this.lines.next()).value);
    if (answer.error) throw new Error(`${request.do} ${request.file}: ${answer.error}`);
    return answer;
  }
  close() { this.process.stdin.end(); }
}

async function timed(work) {
  const before = process.cpuUsage();
  const result = await work();
  const used = process.cpuUsage(before);
  return { ...result, ms: (used.user + used.system) / 1000 };
}

const small = (file) => sharp(file).resize(longest, longest, { fit: "inside" });

// bisect resizes once and looks for the highest quality that fits.
const bisect = (file, max) => timed(async () => {
  const { data, info } = await small(file).raw().toBuffer({ resolveWithObject: true });
  let low = 1, high = 95, best;
  while (low <= high) {
    const quality = (low + high) >> 1;
    const out = await sharp(data, { raw: info }).jpeg({ quality, optimiseCoding: true }).toBuffer();
    if (out.length <= max) { best = { out, quality }; low = quality + 1; } else high = quality - 1;
  }
  return { bytes: best.out.length, ...best };
});

const once = (file) => timed(async () => {
  const out = await small(file).jpeg({ quality: 82 }).toBuffer();
  return { bytes: out.length, quality: 82 };
});

const median = (v) => v.toSorted((a, b) => a - b)[v.length >> 1];
const geometric = (v) => Math.exp(v.reduce((sum, x) => sum + Math.log(x), 0) / v.length);

async function race(what, files, max, go) {
  const ways = {
    "mmspipe": (file, out) => go.ask({ do: "fit", file, size: longest, max, out }),
    "sharp, resized once, quality bisected": bisect,
    "sharp, one encode at quality 82": once,
    "imaging, quality 95, 90, 85 …": (file) => go.ask({ do: "imaging", file, size: longest, max }),
  };
  const ms = {}, bytes = {}, decibel = { mmspipe: [], sharp: [] };
  for (const way in ways) ms[way] = files.map(() => []), bytes[way] = [];
  for (let round = 0; round < rounds; round++) {
    for (const [i, file] of files.entries()) {
      for (const way in ways) {
        if (way.startsWith("imaging") && round > 1) continue; // two are enough of it
        const out = path.join(work, "out.jpg");
        const result = await ways[way](file, way === "mmspipe" ? out : max);
        ms[way][i].push(result.ms);
        bytes[way][i] = result.bytes;
        if (round > 0) continue;
        if (way === "mmspipe" && result.bytes > max) throw new Error("over the limit");
        const reference = path.join(work, path.basename(file) + ".png");
        if (!existsSync(reference)) {
          await go.ask({ do: "reference", file, size: longest, out: reference });
        }
        if (result.out) writeFileSync(out, result.out);
        if (way === "mmspipe" || result.out) {
          decibel[way === "mmspipe" ? way : "sharp"].push((await go.ask({ do: "msssim", file: out, reference })).db);
        }
      }
    }
  }
  const ratio = (way, other) => geometric(files.map((_, i) => median(ms[way][i]) / median(ms[other][i])));
  console.log(`\n${longest} pixels, ${max} bytes; ${files.length} ${what}, median of ${rounds} rounds\n`);
  console.log("| way | CPU ms | least to most | bytes | by bisected sharp | by one encode |\n|---|---|---|---|---|---|");
  for (const way in ways) {
    const all = ms[way].flat();
    console.log(`| ${way} | ${geometric(ms[way].map(median)).toFixed(0)} | ${Math.min(...all).toFixed(0)} to ${Math.max(...all).toFixed(0)} ` +
      `| ${bytes[way].join(", ")} | ${ratio(way, "sharp, resized once, quality bisected").toFixed(2)} | ${ratio(way, "sharp, one encode at quality 82").toFixed(2)} |`);
  }
  const text = (v) => v.map((x) => x.toFixed(2)).join(", ");
  console.log(`\nMS-SSIM in dB, against the whole file resized by imaging: mmspipe ${text(decibel.mmspipe)}; bisected sharp ${text(decibel.sharp)}`);
}

async function peaks(files) {
  console.log("\n| one job in a process of its own | peak memory |\n|---|---|");
  for (const [name, file] of Object.entries(files)) {
    const runner = new Runner();
    const { peak } = await runner.ask({ do: "fit", file, size: longest, max: 600_000 });
    runner.close();
    console.log(`| ${name} | ${(peak / 1024).toFixed(0)} MiB |`);
  }
}

mkdirSync(work, { recursive: true });
const sources = path.join(work, "usr/share/backgrounds");
const source = (name) => path.join(sources, readdirSync(sources).find((f) => f.startsWith(name)));
const files = [];
for (const name of photos) files.push(await prepare(source(name), path.join(work, name + ".jpg"), 4032, 3024, false));
const large = await prepare(source("life"), path.join(work, "large.jpg"), 11547, 8660, false);
const progressive = await prepare(source("life"), path.join(work, "large-progressive.jpg"), 11547, 8660, true);
const pngs = [];
for (const name of photos.slice(0, 2)) pngs.push(await prepare(source(name), path.join(work, name + ".png"), 2048, 1536));
const largePNG = await prepare(source("life"), path.join(work, "large.png"), 4032, 3024);
const screenshot = path.resolve("../images/screenshot.png");
console.log(`${new Date().toISOString().slice(0, 10)}, ${cpus()[0].model}, one core; Node ${process.version}, ` +
  `sharp ${sharp.versions.sharp}, libvips ${sharp.versions.vips}; inputs ` +
  files.map((f) => (statSync(f).size / 1e6).toFixed(1)).join(", ") + " MB");
const go = new Runner();
for (const max of budgets) await race("photographs", files, max, go);
await race("photographs as PNG", pngs, 600_000, go);
await race("screenshot as PNG", [screenshot], 300_000, go);
go.close();
await peaks({ "12 MP": files[0], "100 MP baseline": large, "100 MP progressive": progressive, "12 MP as PNG": largePNG });

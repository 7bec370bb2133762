// Fits animations with mmspipe, gifsicle and sharp, taking turns, and prints what
// each takes and how it looks. See gifs.sh.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";

const [work, runnerFile, roundsText] = process.argv.slice(2);
const rounds = Number(roundsText ?? 3);
const photos = ["picosdeeuropa", "life", "Kleiber", "Dragonfly"];
sharp.concurrency(1);
sharp.cache(false);

// Settings of sharp from fine to coarse.
const settings = [[256, 0], [256, 2], [256, 4], [128, 6], [128, 8], [64, 12], [64, 16], [32, 24], [16, 32], [8, 32]]
  .map(([colours, interFrameMaxError]) => ({ colours, interFrameMaxError, interPaletteMaxError: colours < 256 ? 12 : 3 }));
const bySharp = (file, width, setting) =>
  sharp(file, { animated: true }).resize({ width, fastShrinkOnLoad: false }).gif(settings[setting]).toBuffer();

if (work === "one") { // a process to measure the memory of
  await bySharp(runnerFile, Number(roundsText), Number(process.argv[5]));
  process.exit(0);
}

class Runner {
  constructor() {
    this.process = spawn(runnerFile, { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, GOMAXPROCS: "1" } });
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }
  async ask(request) {
    this.process.stdin.write(JSON.stringify(request) + "\n");
    const answer = JSON.parse((await this.lines.next()).value);
    if (answer.error) throw new Error(`${request.do} ${request.file ?? request.args}: ${answer.error}`);
    return answer;
  }
  close() { this.process.stdin.end(); }
}

async function timed(work) {
  const before = process.cpuUsage();
  const result = await work();
  const used = process.cpuUsage(before);
  return { result, ms: (used.user + used.system) / 1000 };
}

const median = (v) => v.toSorted((a, b) => a - b)[v.length >> 1];
const geometric = (v) => Math.exp(v.reduce((sum, x) => sum + Math.log(x), 0) / v.length);
const out = path.join(work, "gifs", "out");
const likeness = async (file) => (await go.ask({ do: "likeness", file, reference: source })).db;
const siclesWidth = (file, width, lossy) =>
  ["gifsicle", "-O3", `--lossy=${lossy}`, "--colors=255", `--resize-width=${width}`, "-w", file, "-o", out + "-sicle.gif"];

// gifsicle takes the lowest loss that fits, in the width of mmspipe and in one more
// and one less, and of these what looks best.
async function gifsicle(file, widths, max) {
  let best;
  for (const width of widths) {
    let low = 0, high = 400, fits;
    while (high - low > 12) {
      const lossy = fits === undefined && high === 400 && low === 0 ? 60 : (low + high) >> 1;
      const { ms } = await go.ask({ do: "run", args: siclesWidth(file, width, lossy) });
      const bytes = statSync(out + "-sicle.gif").size;
      if (bytes <= max) { fits = { lossy, ms, bytes, width }; high = lossy; } else low = lossy;
    }
    if (!fits) continue;
    await go.ask({ do: "run", args: siclesWidth(file, width, fits.lossy) });
    fits.db = await likeness(out + "-sicle.gif");
    if (!best || fits.db > best.db) best = fits;
  }
  return best;
}

// bySettings takes the first setting of sharp that fits.
async function bySettings(file, width, max) {
  for (const setting of settings.keys()) {
    const { result, ms } = await timed(() => bySharp(file, width, setting));
    if (result.length > max) continue;
    writeFileSync(out + "-sharp.gif", result);
    return { setting, ms, bytes: result.length, width, db: await likeness(out + "-sharp.gif") };
  }
}

// peakOf starts a program from a small process: a program is counted the memory of
// the one that started it.
async function peakOf(args) {
  const one = new Runner();
  const { peak } = await one.ask({ do: "run", args });
  one.close();
  return peak;
}

const gifs = path.join(work, "gifs");
const go = new Runner();
const photo = (name) => path.join(work, "usr/share/backgrounds", readdirSync(path.join(work, "usr/share/backgrounds")).find((f) => f.startsWith(name)));
if (!existsSync(path.join(gifs, "sticker.gif"))) {
  await go.ask({ do: "draw", file: photos.map(photo).join("\n"), out: gifs });
}
console.log(`${new Date().toISOString().slice(0, 10)}, ${cpus()[0].model}, one core; Node ${process.version}, sharp ${sharp.versions.sharp}, libvips ${sharp.versions.vips}\n`);
console.log("| animation | bytes at most | mmspipe: bytes, width, dB, ms, MiB | gifsicle | sharp |\n|---|---|---|---|---|");
let source;
const ratio = { sicle: [], sharp: [] }, gain = { sicle: [], sharp: [] };
const row = (r) => r ? `${r.bytes}, ${r.width}, ${r.db.toFixed(1)}, ${r.ms.toFixed(0)}, ${(r.peak / 1024).toFixed(0)}` : "does not fit";
for (const name of readdirSync(gifs).filter((f) => !f.startsWith("out")).sort()) {
  source = path.join(gifs, name);
  const size = statSync(source).size;
  const max = size > 700_000 ? 570_000 : Math.round(size / 4);
  const full = (await sharp(source).metadata()).width;
  const ours = { all: [] }, sicle = { all: [] }, vips = { all: [] };
  const one = new Runner();
  const first = await one.ask({ do: "moving", file: source, max, out: out + ".gif" });
  one.close();
  Object.assign(ours, first, { width: (await sharp(out + ".gif").metadata()).width, db: await likeness(out + ".gif") });
  if (ours.bytes > max) throw new Error("over the limit");
  const widths = [ours.width, Math.min(full, Math.round(ours.width * 1.19)), Math.round(ours.width * 0.84)];
  const foundSicle = await gifsicle(source, [...new Set(widths)], max);
  const foundSharp = await bySettings(source, ours.width, max);
  for (let round = 0; round < rounds; round++) {
    ours.all.push((await go.ask({ do: "moving", file: source, max })).ms);
    if (foundSicle) {
      sicle.all.push((await go.ask({ do: "run", args: siclesWidth(source, foundSicle.width, foundSicle.lossy) })).ms);
    }
    if (foundSharp) vips.all.push((await timed(() => bySharp(source, ours.width, foundSharp.setting))).ms);
  }
  ours.ms = median(ours.all);
  for (const [found, all, key] of [[foundSicle, sicle.all, "sicle"], [foundSharp, vips.all, "sharp"]]) {
    if (!found) continue;
    found.ms = median(all);
    ratio[key].push(ours.ms / found.ms);
    gain[key].push(ours.db - found.db);
  }
  if (foundSicle) foundSicle.peak = await peakOf(siclesWidth(source, foundSicle.width, foundSicle.lossy));
  if (foundSharp) {
    const args = [process.execPath, fileURLToPath(import.meta.url), "one", source, String(ours.width), String(foundSharp.setting)];
    foundSharp.peak = await peakOf(args);
  }
  console.log(`| ${name.replace(".gif", "")}, ${size} | ${max} | ${row(ours)} | ${row(foundSicle)} | ${row(foundSharp)} |`);
}
for (const [key, who] of [["sicle", "one run of gifsicle at the settings found"], ["sharp", "one encoding of sharp at the settings found"]]) {
  console.log(`\nCPU by ${who}: ${geometric(ratio[key]).toFixed(2)}; dB more, in the mean: ${(gain[key].reduce((a, b) => a + b, 0) / gain[key].length).toFixed(2)}, ` +
    `least ${Math.min(...gain[key]).toFixed(2)}`);
}
go.close();

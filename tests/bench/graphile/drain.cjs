// Drains a queue of Graphile Worker and prints the seconds that took, from the first worker's start until the last
// completion is in the database:
//   node drain.cjs setup
//   node drain.cjs drain JOBS PROCESSES CONCURRENCY batched|plain
// The database is that of the environment (PGHOST, PGPORT, PGUSER, PGDATABASE). "batched" are the settings with which
// Graphile Worker publishes its own figures.
const { fork } = require("child_process");
const modules = process.env.GRAPHILE_MODULES;
const { run, runMigrations } = require(`${modules}/graphile-worker`);
const { Pool } = require(`${modules}/pg`);

const kBatched = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };

function settings(concurrency, mode) {
  return { concurrentJobs: concurrency, ...(mode === "batched" ? kBatched : {}) };
}

async function child(concurrency, mode) {
  const pgPool = new Pool({ max: Math.max(concurrency, 10) });
  const silent = () => () => {};
  const { Logger } = require(`${modules}/graphile-worker`);
  await pgPool.query("SELECT 1");
  let done = 0;
  let runner = null;
  process.on("message", async (message) => {
    if (message === "go") {
      runner = await run({
        pgPool,
        noHandleSignals: true,
        logger: new Logger(silent),
        taskList: { bench: () => void ++done },
        preset: { worker: settings(concurrency, mode) },
      });
    } else if (message === "stop") {
      await runner.stop();
      await pgPool.end();
      process.exit(0);
    }
  });
  setInterval(() => process.send({ done }), 5);
  process.send("ready");
}

function drain(jobs, processes, concurrency, mode) {
  const children = [];
  const done = new Map();
  let ready = 0;
  let exited = 0;
  let begin = 0n;
  let stopping = false;
  for (let i = 0; i < processes; ++i) {
    const one = fork(__filename, ["child", String(concurrency), mode]);
    children.push(one);
    one.on("message", (message) => {
      if (message === "ready" && ++ready === processes) {
        begin = process.hrtime.bigint();
        children.forEach((other) => other.send("go"));
      } else if (message !== "ready") {
        done.set(one.pid, message.done);
        const sum = [...done.values()].reduce((a, b) => a + b, 0);
        if (sum >= jobs && !stopping) {
          stopping = true;
          children.forEach((other) => other.send("stop"));
        }
      }
    });
    one.on("exit", (code) => {
      if (code !== 0) {
        process.exit(1);
      }
      if (++exited === processes) {
        console.log(Number(process.hrtime.bigint() - begin) / 1e9);
      }
    });
  }
}

async function main([command, ...rest]) {
  if (command === "setup") {
    const pgPool = new Pool();
    await runMigrations({ pgPool });
    await pgPool.end();
  } else if (command === "child") {
    await child(Number(rest[0]), rest[1]);
  } else {
    drain(Number(rest[0]), Number(rest[1]), Number(rest[2]), rest[3]);
  }
}

main(process.argv.slice(2));

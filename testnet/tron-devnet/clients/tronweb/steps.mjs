// What the tests in JavaScript share: the network, steps, and comparisons.

/// What `lucid-testnet devnet --json` printed.
export const net = JSON.parse(process.env.DEVNET);
/// The paths that the client under test asked for since the step began.
export const called = new Set();
let failures = 0;

/// A client's steps. Each runs `check` and prints a line of JSON about it. `calls` are those whose answers it looks at; one that was
/// not made is a failure. What `check` returns is shown in the table: it must be the same in every run.
export const stepsOf = (client) => async (name, calls, check) => {
  called.clear();
  const made = calls.map((call) => call.asked ?? call);
  const line = { client, step: name, calls: made, asked: calls.flatMap((call) => call.asked ?? []) };
  try {
    const saw = await check();
    const missing = made.filter((call) => !called.has(call));
    if (missing.length > 0) throw new Error(`not called: ${missing}`);
    Object.assign(line, { ok: true, saw: saw ?? "" });
  } catch (error) {
    failures += 1;
    Object.assign(line, { ok: false, saw: String(error?.stack ?? JSON.stringify(error)) });
  }
  console.log(JSON.stringify(line));
};

export const end = () => process.exit(failures === 0 ? 0 : 1);

export function same(seen, wanted, what) {
  const sorted = (v) => Object.fromEntries(Object.entries(v).sort(([l], [r]) => (l < r ? -1 : 1)));
  const plain = (_, v) => (typeof v === "bigint" ? v.toString() : v?.constructor === Object ? sorted(v) : v);
  const print = (value) => JSON.stringify(value, plain);
  const [s, w] = [print(seen), print(wanted)];
  if (s !== w) throw new Error(`${what}: ${s} instead of ${w}`);
}

/// The message of the error that `promise` ends with.
export async function fails(promise) {
  const value = await promise.then(
    (done) => ({ done }),
    (error) => ({ message: typeof error === "string" ? error : (error.message ?? error.error) }),
  );
  if ("done" in value) throw new Error(`no error, but ${JSON.stringify(value.done)}`);
  return value.message;
}

/// Asks until there is an answer with an id.
export async function until(read) {
  for (let i = 0; i < 300; i++) {
    const answer = await read();
    if (answer?.id) return answer;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("nothing came");
}

/// Uses an admin method of the network, which is started with `--control`.
export async function control(method, body = {}) {
  const response = await fetch(`${net.url}/devnet/${method}`, { method: "POST", body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${response.status}: ${answer.error}`);
  return answer;
}

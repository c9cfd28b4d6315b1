"""What the tronpy tests share: the network, its accounts, and steps.

tronpy itself is unchanged. Its HTTP client is listened to, so that a step can only claim calls that tronpy made.
"""

import json
import os
import time
import traceback
import urllib.request
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from tronpy import AsyncTron, Contract, Tron
from tronpy.contract import keccak256
from tronpy.exceptions import TransactionNotFound
from tronpy.keys import PrivateKey
from tronpy.providers import AsyncHTTPProvider, HTTPProvider

CLIENT = f"tronpy {version('tronpy')}"
# What `lucid-testnet devnet --json` printed.
NET = json.loads(os.environ["DEVNET"])
FIXTURES = json.loads(Path("contracts.json").read_text())
# Sun that a transaction may burn for energy.
LIMIT = 1_000_000_000
COMMITTED = Path(__file__).resolve().parents[2] / "contracts"


class Account:
    """An address with its key."""

    def __init__(self, secret):
        self.key = PrivateKey(bytes.fromhex(secret))
        self.address = self.key.public_key.to_base58check_address()


# The tronweb tests have others.
A, B, C, D, E = (Account(account["key"]) for account in NET["accounts"][5:10])

_called = set()
_failures = 0

_provider = HTTPProvider(NET["url"])
_provider.sess.hooks["response"].append(lambda response, **_: _called.add(urlsplit(response.url).path))
tron = Tron(_provider)


def async_tron():
    """The same network through tronpy's other client."""

    async def heard(request):
        _called.add(request.url.path)

    provider = AsyncHTTPProvider(NET["url"])
    provider.client.event_hooks["request"].append(heard)
    return AsyncTron(provider)


def artifact(name):
    return json.loads((COMMITTED / f"{name}.json").read_text())


def ask(call, body=None):
    """A call that tronpy has no method for, made through its own HTTP client."""
    return tron.provider.make_request(call.removeprefix("/"), body or {})


def control(method):
    """Uses an admin method of the network, which is started with `--control`."""
    urllib.request.urlopen(urllib.request.Request(f"{NET['url']}/devnet/{method}", method="POST")).close()


def step(name, *calls, asked=()):
    """Runs the decorated function at once and prints a line of JSON about it.

    `calls` and `asked` are those whose answers it looks at; one that was not made is a failure. `asked` are calls that
    tronpy has no method for. What the function returns is shown in the table: it must be the same in every run.
    """

    def run(check):
        global _failures
        _called.clear()
        made = [*calls, *asked]
        line = {"client": CLIENT, "step": name, "calls": made, "asked": list(asked)}
        try:
            saw = check()
            missing = [call for call in made if call not in _called]
            assert not missing, f"not called: {missing}"
            line |= {"ok": True, "saw": saw or ""}
        except Exception:  # whatever goes wrong is the step's result
            _failures += 1
            line |= {"ok": False, "saw": traceback.format_exc()}
        print(json.dumps(line), flush=True)

    return run


def failures():
    return _failures


def same(seen, wanted, what):
    assert seen == wanted, f"{what}: {seen!r} instead of {wanted!r}"


def raises(kind, message, function, *args, **options):
    """The function must end with exactly this error."""
    try:
        done = function(*args, **options)
    except Exception as error:
        same((type(error), error.args[0] if error.args else ""), (kind, message), "error")
        return f"`{kind.__name__}`"
    raise AssertionError(f"no {kind.__name__}, but {done!r}")


def transfer(source, to, amount):
    return tron.trx.transfer(source.address, getattr(to, "address", to), amount)


def send(builder, *accounts):
    """Builds, signs, broadcasts, and waits for the receipt."""
    transaction = builder.build()
    for account in accounts:
        transaction.sign(account.key)
    answer = transaction.broadcast()
    same(answer["txid"], transaction.txid, "id")
    return answer.wait(interval=0.05)


def deploy(name):
    """Deploys a fixture from account A: the deployment's id, and the contract as tronpy reads it from the node."""
    made = FIXTURES[name]
    contract = Contract(name=name, bytecode=made["bytecode"], abi=made["abi"])
    txid = tron.trx.deploy_contract(A.address, contract).fee_limit(LIMIT).build().sign(A.key).broadcast().txid
    at = keccak256(bytes.fromhex(txid + tron.to_hex_address(A.address)))[12:]
    return txid, tron.get_contract("41" + at.hex())


def balance(account):
    return int(tron.get_account_balance(getattr(account, "address", account)) * 1_000_000)


def solid(txid):
    end = time.monotonic() + 15
    while time.monotonic() < end:
        try:
            return tron.get_solid_transaction_info(txid)
        except TransactionNotFound:
            time.sleep(0.05)
    raise AssertionError(f"{txid} is not solidified")

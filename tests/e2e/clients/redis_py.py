"""redis-py in its sentinel mode: writes rising numbers for ever and says which were acknowledged.

usage: redis_py.py PORT,PORT,PORT    (the sentinels' ports)
"""

import sys
import time

import redis
from redis.sentinel import Sentinel

ports = [int(port) for port in sys.argv[1].split(",")]
sentinel = Sentinel([("127.0.0.1", port) for port in ports], socket_timeout=0.5)
primary = sentinel.master_for("mymaster", socket_timeout=0.5)
print("version", redis.__version__, flush=True)
last = 0
while True:
    try:
        primary.set("written-by-client", last + 1)
        last += 1
        print("ok", last, flush=True)
    except redis.RedisError as error:
        print("error", error, flush=True)
    time.sleep(0.01)

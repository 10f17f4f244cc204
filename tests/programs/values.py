"""What files hold that have times or host names in them by their nature: a digest of all else, for each path in the arguments."""

import hashlib
import json
import struct
import sys
import zipfile


def events(path):
    """TensorBoard's: records of a length, its checksum, an `Event`, and the checksum of that."""
    from tensorboard.compat.proto.event_pb2 import Event

    with open(path, "rb") as file:
        while header := file.read(12):
            event = Event.FromString(file.read(struct.unpack("<Q", header[:8])[0]))
            file.read(4)
            for value in event.summary.value:
                yield event.step, value.tag, value.simple_value, value.tensor.SerializeToString().hex()


def measured(value):
    """JSON without how long something took."""
    if isinstance(value, dict):
        is_time = lambda key: key.endswith(("_runtime", "_per_second"))
        return {key: measured(inner) for key, inner in value.items() if not is_time(key)}
    return [measured(inner) for inner in value] if isinstance(value, list) else value


def archive(path):
    """Keras's own form: the rest of it has dates, and addresses of objects."""
    with zipfile.ZipFile(path) as file:
        return sorted(file.namelist()), hashlib.sha256(file.read("model.weights.h5")).hexdigest()


def values(path):
    if ".tfevents." in path:
        found = list(events(path))
    elif path.endswith(".json"):
        with open(path) as file:
            found = measured(json.load(file))
    else:
        found = archive(path)
    assert found, f"{path} holds nothing"
    return json.dumps(found)


for path in sys.argv[1:]:
    print(f"{hashlib.sha256(values(path).encode()).hexdigest()}  {path}")

"""MultiWorkerMirroredStrategy on scikit-learn's handwritten digits, for any number of ranks.

Works the same without nauta on one machine: without TF_CONFIG there is one worker.
"""

import hashlib
import json
import os

import keras
import tensorflow as tf
from sklearn.datasets import load_digits

EPOCHS = int(os.environ.get("EPOCHS", "5"))
OUTPUTS = os.environ.get("NAUTA_OUTPUTS", ".")
RANK = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {}).get("index", 0)
BATCH = 64


def main():
    # Before anything else of TensorFlow: the strategy starts the servers that the other ranks connect to.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    world = strategy.num_replicas_in_sync
    keras.utils.set_random_seed(0)

    images, labels = load_digits(return_X_y=True)
    data = tf.data.Dataset.from_tensor_slices(((images / 16.0).astype("float32"), labels.astype("int32")))
    data = data.shuffle(len(labels), seed=0).batch(BATCH, drop_remainder=True)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    data = strategy.experimental_distribute_dataset(data.with_options(options))

    with strategy.scope():
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)])
        optimizer = keras.optimizers.SGD(0.2, momentum=0.9)

    def train(batch):
        with tf.GradientTape() as tape:
            scores = model(batch[0], training=True)
            losses = keras.losses.sparse_categorical_crossentropy(batch[1], scores, from_logits=True)
            loss = tf.reduce_sum(losses) / BATCH
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    @tf.function
    def step(batch):
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(train, args=(batch,)), axis=None)

    for epoch in range(1, EPOCHS + 1):
        losses = [float(step(batch)) for batch in data]
        if RANK == 0:
            print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}", flush=True)
            model.save_weights(os.path.join(OUTPUTS, "checkpoint.weights.h5"))

    digest = hashlib.sha256(b"".join(value.tobytes() for value in model.get_weights()))
    print(f"rank {RANK} of {world}: parameters {digest.hexdigest()[:16]}", flush=True)


if __name__ == "__main__":
    main()

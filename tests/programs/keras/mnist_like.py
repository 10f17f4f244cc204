"""A convolutional network on Keras, with the usual callbacks: a table of losses, TensorBoard's events, the best weights."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(812)
tf.config.experimental.enable_op_determinism()
numbers = np.random.default_rng(0)
labels = numbers.integers(0, 10, 256)
images = numbers.random((256, 8, 8, 1), dtype="float32") * 0.2
images[np.arange(256), labels % 8, labels // 8 * 4] = 1.0

model = keras.Sequential(
    [
        keras.Input(shape=(8, 8, 1)),
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
callbacks = [
    keras.callbacks.CSVLogger("training.csv"),
    keras.callbacks.TensorBoard("logs"),
    keras.callbacks.ModelCheckpoint("best.weights.h5", save_best_only=True, save_weights_only=True),
]
model.fit(images, labels, batch_size=32, epochs=3, validation_split=0.25, callbacks=callbacks, verbose=2)
model.save("final.keras")

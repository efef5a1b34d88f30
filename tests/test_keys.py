import jax
import numpy as np

from bidfcl_jax.keys import host_generator, stream


def data(key):
  return jax.random.key_data(key).tolist()


def test_streams_differ_by_name_and_by_key():
  key = jax.random.key(0)
  assert data(stream(key, "order")) == data(stream(key, "order"))
  assert data(stream(key, "order")) != data(stream(key, "step"))
  assert data(stream(key, "order")) != data(stream(jax.random.key(1), "order"))
  # crc32("123456789") is the check value of the CRC-32 standard.
  expected = jax.random.fold_in(key, 0xCBF43926 & 0x7FFFFFFF)
  assert data(stream(key, "123456789")) == data(expected)


def test_host_generator_is_a_function_of_the_key_alone():
  first = host_generator(jax.random.key(0))
  first_draw = first.random(4)
  np.random.seed(1)  # the global generator must not matter
  again = host_generator(jax.random.key(0)).random(4)
  np.testing.assert_array_equal(first_draw, again)
  assert not np.array_equal(first_draw, first.random(4))
  other = host_generator(jax.random.key(1)).random(4)
  assert not np.array_equal(first_draw, other)


def test_host_generator_reads_both_words_of_a_key():
  low = jax.random.wrap_key_data(np.array([0, 5], np.uint32))
  high = jax.random.wrap_key_data(np.array([5, 0], np.uint32))
  one, two = (host_generator(k).random(4) for k in (low, high))
  assert not np.array_equal(one, two)

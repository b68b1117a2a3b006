"""A product with a large shared matrix, whose gradient replicas put together from its factors instead of sending it whole."""

import functools

import jax


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def factored_product(x, kernel, axis_name):
  """x @ kernel on each replica; the gradient of `kernel` is the sum over all replicas, on every one of them.

      dL/dkernel = sum over replicas r of x_r^T d_r,   d_r = dL/dy_r

  A fully connected layer has far fewer rows than weights. So of N replicas, n gets columns n F/N .. (n + 1) F/N of every x_r (all-to-all) and every
  d_r, multiplies them, which sums over the replicas within the product, and the N shares of the gradient are gathered. Against an all-reduce of
  the N gradients half the bytes travel (each share once), the sum is rounded once, from the product's accumulator, and no replica
  writes a gradient of its own. FLOPs a replica are those of its own gradient: N times the rows, an Nth of the columns.

  Args:
    x: [B, F]. kernel: [F, U], the same on every replica, dtype of `x`. axis_name: the mapped axis of the replicas.

  Returns:
    [B, U], dtype of `x`. Where N does not divide F the gradients are all-reduced.
  """
  return x @ kernel


def _forward(x, kernel, axis_name):
  return x @ kernel, (x, kernel)


def _backward(axis_name, saved, cotangent):
  x, kernel = saved
  return cotangent @ kernel.T, _summed_gradient(x, cotangent, axis_name)


def _summed_gradient(x, cotangent, axis_name):
  replicas = jax.lax.psum(1, axis_name)  # known while tracing
  if replicas == 1:
    return x.T @ cotangent
  if x.shape[1] % replicas:
    return jax.lax.psum(x.T @ cotangent, axis_name)
  columns = jax.lax.all_to_all(x, axis_name, split_axis=1, concat_axis=0, tiled=True)
  cotangents = jax.lax.all_gather(cotangent, axis_name, tiled=True)
  return jax.lax.all_gather(columns.T @ cotangents, axis_name, tiled=True)


factored_product.defvjp(_forward, _backward)

"""Processes pass a number round; the first one writes what came back."""

from mpi4py import MPI

world = MPI.COMM_WORLD
rank, size = world.Get_rank(), world.Get_size()
total = world.allreduce(rank + 1)
print(f"process {rank} of {size}: {total}")
if rank == 0:
    with open("ring.txt", "w", encoding="utf-8") as file:
        file.write(f"{total}\n")

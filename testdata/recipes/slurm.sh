#!/bin/bash
# Converts every step of a training run in a Slurm array: each task does its share of the steps.
#
#   sbatch slurm.sh RUN OUT [flags of griffin convert]
#
# A task that is killed or requeued, and the whole job submitted again, goes on with what is missing.
#SBATCH --job-name=griffin-convert
#SBATCH --array=0-19%8
#SBATCH --cpus-per-task=2
#SBATCH --mem=512M
#SBATCH --requeue
#SBATCH --open-mode=append

exec griffin convert --all-steps --task auto "$@"

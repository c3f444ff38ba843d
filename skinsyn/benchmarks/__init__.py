"""What 09 times: our fine-tuning and generation beside what a reader would otherwise run."""

"""Search compression policies under a budget that is verified on your device."""

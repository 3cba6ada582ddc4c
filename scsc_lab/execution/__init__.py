"""What makes a module run somewhere: devices, memory, single passes."""

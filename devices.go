package minisgl

// The devices that every build has. CUDA's is in devices_cuda.go.
import (
	_ "minisgl/device/reference"
	_ "minisgl/device_cpu"
)

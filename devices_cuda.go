//go:build cuda

package minisgl

import _ "minisgl/device_cuda"

//go:build cuda && linux

package emulator

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

//go:embed native
var native embed.FS

var errNoCompiler = errors.New("no C++ compiler (set CXX, or install g++ or clang++)")

var build = sync.OnceValues(buildLibraries)

// Libraries returns the paths of the emulator's libcuda and libnvrtc. They are compiled when the sources have changed, and kept
// in the user's cache folder. Without a C++ compiler the test is skipped; with CI set it fails.
func Libraries(t testing.TB) (cuda, nvrtc string) {
	t.Helper()
	folder := libraries(t)
	return filepath.Join(folder, "libcuda.so.1"), filepath.Join(folder, "libnvrtc.so.13")
}

// OldDriver returns the path of a libcuda for CUDA 11.0, which lacks calls that the driver layer needs.
func OldDriver(t testing.TB) string {
	t.Helper()
	return filepath.Join(libraries(t), "libcuda-old.so.1")
}

func libraries(t testing.TB) string {
	t.Helper()
	folder, err := build()
	switch {
	case errors.Is(err, errNoCompiler) && os.Getenv("CI") == "":
		t.Skipf("emulated card: %v", err)
	case err != nil:
		t.Fatalf("emulated card: %v", err)
	}
	return folder
}

// compiler returns the C++ compiler's path and what it says about its version.
func compiler() (path, version string, err error) {
	for _, name := range []string{os.Getenv("CXX"), "c++", "g++", "clang++"} {
		if name == "" {
			continue
		}
		if path, err = exec.LookPath(name); err != nil {
			continue
		}
		said, err := exec.Command(path, "--version").Output()
		if err != nil {
			return "", "", fmt.Errorf("%s --version: %w", path, err)
		}
		return path, string(said), nil
	}
	return "", "", errNoCompiler
}

// sources returns the embedded files by name, in order, and a hash of them.
func sources(salt ...string) (map[string][]byte, [sha256.Size]byte, error) {
	files := map[string][]byte{}
	hash := sha256.New()
	for _, s := range salt {
		fmt.Fprintf(hash, "%q\n", s)
	}
	entries, err := native.ReadDir("native")
	for _, e := range entries {
		var text []byte
		if text, err = native.ReadFile("native/" + e.Name()); err != nil {
			break
		}
		files[e.Name()] = text
		fmt.Fprintf(hash, "%s %q\n", e.Name(), text)
	}
	return files, [sha256.Size]byte(hash.Sum(nil)), err
}

// buildLibraries returns the folder with the libraries, and with the headers that kernels are compiled with.
func buildLibraries() (string, error) {
	path, version, err := compiler()
	if err != nil {
		return "", err
	}
	files, hash, err := sources(path, version)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	all := filepath.Join(cache, "minisgl", "emulator")
	if err := os.MkdirAll(all, 0o700); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(all, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close() // which unlocks it
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	dropOld(all)
	folder := filepath.Join(all, hex.EncodeToString(hash[:8]))
	if _, err := os.Stat(filepath.Join(folder, "complete")); err == nil {
		return folder, nil
	}
	if err := os.MkdirAll(filepath.Join(folder, "modules"), 0o700); err != nil {
		return "", err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			return "", err
		}
	}
	for _, l := range []struct {
		name      string
		arguments []string
	}{
		{"libcuda.so.1", []string{"cuda.cpp", "launches.cpp"}},
		{"libcuda-old.so.1", []string{"-DEMULATED_OLD_DRIVER", "cuda.cpp", "launches.cpp"}},
		{"libnvrtc.so.13", []string{fmt.Sprintf("-DEMULATED_COMPILER=%q", path), "nvrtc.cpp"}},
	} {
		arguments := append([]string{
			"-std=c++17", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread", "-o", l.name,
			fmt.Sprintf("-DEMULATED_BUILD=0x%xull", hash[:8]),
		}, l.arguments...)
		command := exec.Command(path, append(arguments, "-ldl")...)
		command.Dir = folder
		if said, err := command.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w\n%s", command, err, said)
		}
	}
	return folder, os.WriteFile(filepath.Join(folder, "complete"), nil, 0o600)
}

// dropOld removes what has not been used, or was compiled, more than a week ago. A library's folder changes with each use.
func dropOld(folder string) {
	builds, _ := filepath.Glob(filepath.Join(folder, "*", "modules"))
	modules, _ := filepath.Glob(filepath.Join(folder, "*", "modules", "*"))
	for i := range builds {
		builds[i] = filepath.Dir(builds[i])
	}
	for _, path := range append(builds, modules...) {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > 7*24*time.Hour {
			_ = os.RemoveAll(path)
		}
	}
}

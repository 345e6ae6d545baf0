"""What test_gpu_command runs in processes of their own: a part that is good, fails or hangs. Imports nothing heavy."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    name, out, *words = sys.argv[1:]
    sys.stdout.write(f"{' '.join([name, *words])}\n")
    if name == "fails":
        sys.exit(3)
    shutil.copy(Path(out) / "prepared" / f"{name}.json", out)
    if name == "hangs":
        own = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        (Path(out) / "pid").write_text(str(own.pid))
        time.sleep(60)

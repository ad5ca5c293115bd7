"""What a profile's runs would cost before any of them runs: images, hours of named hardware, disk and download."""

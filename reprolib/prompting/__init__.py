"""What a person does with prompts: boxes on an image in, masks out, as a picture and as COCO JSON."""

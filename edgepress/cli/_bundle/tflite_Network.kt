// The network of this folder in an Android app, on LiteRT.
//
//   dependencies { implementation("com.google.ai.edge.litert:litert:1.4.0") }   // in build.gradle.kts
//   android { androidResources { noCompress += "tflite" } }
//
// Put model.tflite, preprocess.json and labels.txt into src/main/assets. It is written for an NHWC file with float32
// inputs, which is what edgepress writes unless told otherwise. Android scales pictures without antialiasing: scores
// differ a little from run.py's. edgepress has not compiled this file when it made the bundle.

package com.example.network

import android.content.Context
import android.graphics.Bitmap
import org.json.JSONArray
import org.json.JSONObject
import org.tensorflow.lite.Interpreter
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel

class Network(context: Context, threads: Int = 2) : AutoCloseable {
    private val told = JSONObject(context.assets.open("preprocess.json").bufferedReader().readText())
    private val height = told.getJSONArray("size").getInt(0)
    private val width = told.getJSONArray("size").getInt(1)
    private val scale = told.getDouble("scale").toFloat()
    private val mean = floats(told.getJSONArray("mean"))
    private val std = floats(told.getJSONArray("std"))
    private val order = told.getString("channel_order")
    private val interpreter: Interpreter

    init {
        val file = context.assets.openFd("model.tflite")
        val model = FileInputStream(file.fileDescriptor).channel
            .map(FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength)
        interpreter = Interpreter(model, Interpreter.Options().setNumThreads(threads))
    }

    /** The scores of the first output. */
    fun scores(picture: Bitmap): FloatArray {
        val count = interpreter.getOutputTensor(0).numElements()
        val output = ByteBuffer.allocateDirect(4 * count).order(ByteOrder.nativeOrder())
        interpreter.run(prepared(picture), output)
        output.rewind()
        return FloatArray(count).also { output.asFloatBuffer().get(it) }
    }

    /** The picture as preprocess.json says, height x width x channels. */
    private fun prepared(picture: Bitmap): ByteBuffer {
        val fitted = fitted(picture)
        val pixels = IntArray(width * height)
        fitted.getPixels(pixels, 0, width, 0, 0, width, height)
        val input = ByteBuffer.allocateDirect(4 * width * height * mean.size).order(ByteOrder.nativeOrder())
        for (pixel in pixels) {
            val red = (pixel shr 16) and 0xFF
            val green = (pixel shr 8) and 0xFF
            val blue = pixel and 0xFF
            val channels = when (order) {
                "BGR" -> intArrayOf(blue, green, red)
                "L" -> intArrayOf((299 * red + 587 * green + 114 * blue) / 1000)
                else -> intArrayOf(red, green, blue)
            }
            channels.forEachIndexed { c, value -> input.putFloat((value * scale - mean[c]) / std[c]) }
        }
        input.rewind()
        return input
    }

    private fun fitted(picture: Bitmap): Bitmap {
        val resize = told.getJSONObject("resize")
        if (resize.isNull("shorter_side")) return Bitmap.createScaledBitmap(picture, width, height, true)
        val shorter = resize.getInt("shorter_side")
        val least = minOf(picture.width, picture.height)
        val scaled = Bitmap.createScaledBitmap(
            picture, shorter * picture.width / least, shorter * picture.height / least, true
        )
        return Bitmap.createBitmap(scaled, (scaled.width - width) / 2, (scaled.height - height) / 2, width, height)
    }

    private fun floats(values: JSONArray) = FloatArray(values.length()) { values.getDouble(it).toFloat() }

    override fun close() = interpreter.close()
}
